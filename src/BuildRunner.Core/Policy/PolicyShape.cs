namespace BuildRunner.Core.Policy;

/// <summary>A row of the reference page.</summary>
public sealed record PolicyKeyRow(string Path, string Form, string Default, string Summary, bool Required);

/// <summary>The keys of a mapping, and how they fill a record: one declaration from which reading, writing and the reference page follow.</summary>
internal sealed class PolicyShape<T>
{
    private readonly List<PolicyKey<T>> _keys = [];

    public PolicyShape<T> With(PolicyKey<T> key)
    {
        _keys.Add(key);
        return this;
    }

    /// <summary>A value.</summary>
    public PolicyShape<T> Key<V>(string name, PolicyForm<V> form, Func<T, V> get, Func<T, V, T> set, string summary, bool required = false) =>
        With(new ValueKey<T, V>(name, form, get, set, summary, required));

    /// <summary>A value that has its home under another key: read here, written there.</summary>
    public PolicyShape<T> Shorthand<V>(string name, string canonical, PolicyForm<V> form, PolicyForm<V> longForm, Func<PolicyDocument, V, PolicyDocument> set, string summary) =>
        With(new ShorthandKey<T, V>(name, canonical, form, longForm, set, summary));

    /// <summary>A section: a mapping whose keys fill one part of the record.</summary>
    public PolicyShape<T> Part<V>(string name, PolicyShape<V> shape, Func<T, V> get, Func<T, V, T> set, string summary) =>
        With(new PartKey<T, V>(name, shape, get, set, summary));

    /// <summary>A mapping of names to entries.</summary>
    public PolicyShape<T> Entries<V>(string name, PolicyShape<V> shape, Func<string, V> seed, Func<V, string> nameOf, Func<T, IReadOnlyList<V>> get, Func<T, IReadOnlyList<V>, T> set, string summary, Func<string, string>? canonical = null, bool writesEmpty = false) =>
        With(new EntriesKey<T, V>(name, shape, seed, nameOf, canonical ?? (n => n), get, set, summary) { WritesEmpty = writesEmpty });

    /// <summary>A list of entries, in order.</summary>
    public PolicyShape<T> Items<V>(string name, PolicyShape<V> shape, Func<V> seed, Func<T, IReadOnlyList<V>> get, Func<T, IReadOnlyList<V>, T> set, string summary) =>
        With(new ItemsKey<T, V>(name, shape, seed, get, set, summary));

    private IEnumerable<string> Names => _keys.SelectMany(k => k.Names);

    public T Read(T seed, PolicyNode node, PolicyPath path, PolicyReading reading, PolicyPosition namedAt)
    {
        if (node is PolicyNode.Scalar { IsNothing: true } && _keys.TrueForAll(k => !k.Required))
            return seed;
        if (node is not PolicyNode.Mapping mapping)
        {
            reading.Wrong(node.At, path, node is PolicyNode.Scalar { IsNothing: true } ? "Nothing is written here." : $"Keys belong here, not a {PolicyReading.KindOf(node)}.", $"Known here: {string.Join(", ", Names)}.");
            return seed;
        }
        foreach (var entry in mapping.Entries)
        {
            var key = _keys.Find(k => k.Takes(entry.Key));
            if (key is null)
            {
                reading.Wrong(entry.At, path.Child(entry.Key), $"`{PolicyReading.Quote(entry.Key)}` is not known {(path.Written.Length == 0 ? "as a section" : $"under `{path.Written}`")}.", Nearest.Fix(entry.Key, [.. Names]));
                continue;
            }
            seed = key.Read(seed, entry, path, reading);
        }
        foreach (var key in _keys.Where(k => k.Required && !mapping.Entries.Any(e => k.Takes(e.Key))))
            reading.Wrong(namedAt, path.Child(key.Name!), $"`{key.Name}` is missing.", $"Write it under `{path.Written}`.");
        return seed;
    }

    public PolicyNode.Mapping Write(T value)
    {
        var entries = new List<PolicyEntry>();
        foreach (var key in _keys)
        {
            foreach (var entry in key.Write(value))
                entries.Add(entry);
        }
        return new(entries);
    }

    public IEnumerable<PolicyKeyRow> Describe(string prefix, T seed) => _keys.SelectMany(k => k.Describe(prefix, seed));
}

/// <summary>One key of a mapping; null name: it takes a family of names.</summary>
internal abstract record PolicyKey<T>(string? Name, string Summary, bool Required)
{
    /// <summary>Names to suggest for a misspelt one.</summary>
    public virtual IEnumerable<string> Names => Name is null ? [] : [Name];

    public virtual bool Takes(string key) => key == Name;

    public abstract T Read(T owner, PolicyEntry entry, PolicyPath path, PolicyReading reading);

    public abstract IEnumerable<PolicyEntry> Write(T owner);

    public abstract IEnumerable<PolicyKeyRow> Describe(string prefix, T seed);
}

internal sealed record ValueKey<T, V>(string KeyName, PolicyForm<V> Form, Func<T, V> Get, Func<T, V, T> Set, string Summary, bool Required)
    : PolicyKey<T>(KeyName, Summary, Required)
{
    public override T Read(T owner, PolicyEntry entry, PolicyPath path, PolicyReading reading)
    {
        var at = path.Child(KeyName);
        reading.Place(at, entry.At);
        return Form.TryRead(entry.Value, at, reading, out var value) && reading.Set(at, entry.At, Form.Write(value)) ? Set(owner, value) : owner;
    }

    public override IEnumerable<PolicyEntry> Write(T owner)
    {
        if (Form.Write(Get(owner)) is { } node)
            yield return new(KeyName, default, node);
    }

    public override IEnumerable<PolicyKeyRow> Describe(string prefix, T seed) =>
        [new($"{prefix}{KeyName}", Form.Words, Required ? "" : PolicyYaml.Flat(Form.Write(Get(seed))), Summary, Required)];
}

/// <summary>Applied when all sections are read, so that the order of sections does not matter.</summary>
internal sealed record ShorthandKey<T, V>(string KeyName, string Canonical, PolicyForm<V> Form, PolicyForm<V> LongForm, Func<PolicyDocument, V, PolicyDocument> Set, string Summary)
    : PolicyKey<T>(KeyName, Summary, Required: false)
{
    public override T Read(T owner, PolicyEntry entry, PolicyPath path, PolicyReading reading)
    {
        var at = path.Child(KeyName) with { Canonical = Canonical };
        reading.Place(at, entry.At);
        if (Form.TryRead(entry.Value, at, reading, out var value))
            reading.Later((document, now) => now.Set(at, entry.At, LongForm.Write(value)) ? Set(document, value) : document);
        return owner;
    }

    public override IEnumerable<PolicyEntry> Write(T owner) => [];

    public override IEnumerable<PolicyKeyRow> Describe(string prefix, T seed) =>
        [new($"{prefix}{KeyName}", Form.Words, $"shorthand for `{Canonical}`", Summary, false)];
}

internal sealed record PartKey<T, V>(string KeyName, PolicyShape<V> Shape, Func<T, V> Get, Func<T, V, T> Set, string Summary)
    : PolicyKey<T>(KeyName, Summary, Required: false)
{
    public override T Read(T owner, PolicyEntry entry, PolicyPath path, PolicyReading reading)
    {
        var at = path.Child(KeyName);
        reading.Place(at, entry.At);
        return Set(owner, Shape.Read(Get(owner), entry.Value, at, reading, entry.At));
    }

    public override IEnumerable<PolicyEntry> Write(T owner)
    {
        if (Shape.Write(Get(owner)) is { Entries.Count: > 0 } node)
            yield return new(KeyName, default, node);
    }

    public override IEnumerable<PolicyKeyRow> Describe(string prefix, T seed) =>
        [new($"{prefix}{KeyName}", "section", "", Summary, false), .. Shape.Describe($"{prefix}{KeyName}.", Get(seed))];
}

internal sealed record EntriesKey<T, V>(string KeyName, PolicyShape<V> Shape, Func<string, V> Seed, Func<V, string> NameOf, Func<string, string> CanonicalName, Func<T, IReadOnlyList<V>> Get, Func<T, IReadOnlyList<V>, T> Set, string Summary)
    : PolicyKey<T>(KeyName, Summary, Required: false)
{
    private const int EntriesMax = 200;

    public override T Read(T owner, PolicyEntry entry, PolicyPath path, PolicyReading reading)
    {
        var section = path.Child(KeyName);
        reading.Place(section, entry.At);
        if (entry.Value is PolicyNode.Scalar { IsNothing: true })
            return Set(owner, []);
        if (entry.Value is not PolicyNode.Mapping mapping)
        {
            reading.Wrong(entry.Value.At, section, $"Names with their settings belong here, not a {PolicyReading.KindOf(entry.Value)}.", "Write `NAME:` and its settings indented below.");
            return owner;
        }
        var items = new List<V>();
        var seen = new Dictionary<string, PolicyEntry>(StringComparer.Ordinal);
        foreach (var one in mapping.Entries.Take(EntriesMax))
        {
            if (one.Value is not PolicyNode.Mapping && Extra(one.Key) is { } extra)
            {
                owner = extra.Read(owner, one, section, reading);
                continue;
            }
            var name = CanonicalName(one.Key);
            var at = section.Child(one.Key, name);
            reading.Place(at, one.At);
            if (Forms.NameWrong(one.Key) is { } wrong)
                reading.Wrong(one.At, at, wrong, "Choose another name.");
            else if (!seen.TryAdd(name, one))
                reading.Wrong(one.At, at, $"`{one.Key}` and `{seen[name].Key}` ({seen[name].At}) are the same.", "Put their settings together and remove one.");
            else
                items.Add(Shape.Read(Seed(name), one.Value, at, reading, one.At));
        }
        if (mapping.Entries.Count > EntriesMax)
            reading.Wrong(entry.At, section, $"{mapping.Entries.Count} entries are too many.", $"At most {EntriesMax}.");
        return Set(owner, items);
    }

    /// <summary>Settings of the section itself, beside its entries: single values, so that no name is taken from the user.</summary>
    public IReadOnlyList<PolicyKey<T>> Extras { get; init; } = [];

    /// <summary>An empty section differs from a missing one, which has defaults.</summary>
    public bool WritesEmpty { get; init; }

    private PolicyKey<T>? Extra(string key) => Extras.FirstOrDefault(e => e.Takes(key));

    public override IEnumerable<PolicyEntry> Write(T owner)
    {
        var entries = Extras.SelectMany(e => e.Write(owner)).Concat(Get(owner).Select(v => new PolicyEntry(NameOf(v), default, Shape.Write(v)))).ToList();
        if (entries.Count > 0 || WritesEmpty)
            yield return new(KeyName, default, new PolicyNode.Mapping(entries));
    }

    public override IEnumerable<PolicyKeyRow> Describe(string prefix, T seed) =>
        [new($"{prefix}{KeyName}", "section", "", Summary, false), .. Extras.SelectMany(e => e.Describe($"{prefix}{KeyName}.", seed)), .. Shape.Describe($"{prefix}{KeyName}.NAME.", Seed("NAME"))];
}

internal sealed record ItemsKey<T, V>(string KeyName, PolicyShape<V> Shape, Func<V> Seed, Func<T, IReadOnlyList<V>> Get, Func<T, IReadOnlyList<V>, T> Set, string Summary)
    : PolicyKey<T>(KeyName, Summary, Required: false)
{
    private const int ItemsMax = 200;

    public override T Read(T owner, PolicyEntry entry, PolicyPath path, PolicyReading reading)
    {
        var list = path.Child(KeyName);
        reading.Place(list, entry.At);
        if (entry.Value is not PolicyNode.Sequence sequence)
        {
            reading.Wrong(entry.Value.At, list, $"A list belongs here, not a {PolicyReading.KindOf(entry.Value)}.", "Write each item on its own line after `- `.");
            return owner;
        }
        if (sequence.Items.Count > ItemsMax)
            reading.Wrong(entry.At, list, $"{sequence.Items.Count} items are too many.", $"At most {ItemsMax}.");
        var items = new List<V>();
        foreach (var (item, i) in sequence.Items.Take(ItemsMax).Select((item, i) => (item, i)))
        {
            reading.Place(list.Item(i), item.At);
            items.Add(Shape.Read(Seed(), item, list.Item(i), reading, item.At));
        }
        return Set(owner, items);
    }

    public override IEnumerable<PolicyEntry> Write(T owner)
    {
        if (Get(owner) is { Count: > 0 } items)
            yield return new(KeyName, default, new PolicyNode.Sequence([.. items.Select(Shape.Write)]));
    }

    public override IEnumerable<PolicyKeyRow> Describe(string prefix, T seed) =>
        [new($"{prefix}{KeyName}", "list", "", Summary, false), .. Shape.Describe($"{prefix}{KeyName}[].", Seed())];
}
