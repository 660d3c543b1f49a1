namespace BuildRunner.Core.Policy;

/// <summary>A key's path as the user wrote it, and as the effective value is known by (aliases and shorthands resolved).</summary>
internal readonly record struct PolicyPath(string Written, string Canonical)
{
    public static PolicyPath Root => new("", "");

    public PolicyPath Child(string name, string? canonical = null) => new(Join(Written, name), Join(Canonical, canonical ?? name));

    public PolicyPath Item(int index) => new($"{Written}[{index}]", $"{Canonical}[{index}]");

    private static string Join(string path, string name) => path.Length == 0 ? name : $"{path}.{name}";
}

/// <summary>What a reading gathers on its way: errors, places, and who set which value.</summary>
internal sealed class PolicyReading(Func<string, string?> cronWrong)
{
    private const int ErrorsMax = 200;
    private readonly List<PolicyError> _errors = [];
    private readonly Dictionary<string, PolicyPosition> _places = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (string Value, PolicyPosition At, string Written)> _set = new(StringComparer.Ordinal);

    private readonly List<Func<PolicyDocument, PolicyReading, PolicyDocument>> _later = [];

    public IReadOnlyList<PolicyError> Errors => _errors;

    /// <summary>Puts off what needs all sections to be read.</summary>
    public void Later(Func<PolicyDocument, PolicyReading, PolicyDocument> apply) => _later.Add(apply);

    public PolicyDocument ApplyLater(PolicyDocument document)
    {
        foreach (var apply in _later)
            document = apply(document, this);
        return document;
    }

    /// <summary>Says what is wrong with a cron expression; null: nothing.</summary>
    public string? CronWrong(string text) => cronWrong(text);

    public void Wrong(PolicyPosition at, PolicyPath path, string message, string fix) => Wrong(at, path.Written, message, fix);

    public void Wrong(PolicyPosition at, string path, string message, string fix)
    {
        if (_errors.Count < ErrorsMax)
            _errors.Add(new(at, path, message, fix));
    }

    /// <summary>Notes where a key stands, for errors that only show when everything is read.</summary>
    public void Place(PolicyPath path, PolicyPosition at) => _places[path.Canonical] = at;

    /// <summary>Notes that a value was set here. False, with an error that names both lines, when another key set it differently.</summary>
    public bool Set(PolicyPath path, PolicyPosition at, PolicyNode? value)
    {
        var text = PolicyYaml.Flat(value);
        if (!at.IsVariable && _set.TryGetValue(path.Canonical, out var former) && !former.At.IsVariable && former.Value != text)
        {
            Wrong(at, path, $"`{path.Written}: {Quote(text)}` and `{former.Written}: {Quote(former.Value)}` ({former.At}) are the same setting with different values.",
                $"Remove the one in line {former.At.Line} or the one in line {at.Line}.");
            return false;
        }
        _set[path.Canonical] = (text, at, path.Written);
        _places[path.Canonical] = at;
        return true;
    }

    /// <summary>True when the key was written, whether or not its value was good.</summary>
    public bool IsPlaced(string canonical) => _places.ContainsKey(canonical);

    /// <summary>True when the user or a variable set it, rather than a default.</summary>
    public bool IsSet(string canonical) => _set.ContainsKey(canonical);

    /// <summary>Where a value, or else the nearest key above it, stands.</summary>
    public PolicyPosition At(string canonical)
    {
        for (var path = canonical; path.Length > 0; path = Above(path))
        {
            if (_places.TryGetValue(path, out var at))
                return at;
        }
        return _places.TryGetValue("", out var root) ? root : default;
    }

    /// <summary>Where the value was set; the default place when nobody did.</summary>
    public PolicyPosition SourceOf(string canonical)
    {
        for (var path = canonical; path.Length > 0; path = Above(path))
        {
            if (_set.TryGetValue(path, out var set))
                return set.At;
        }
        return PolicyPosition.Default;
    }

    public static string KindOf(PolicyNode node) => node switch
    {
        PolicyNode.Mapping => "mapping",
        PolicyNode.Sequence => "list",
        _ => "single value",
    };

    /// <summary>What was written, short enough for a sentence and without anything a terminal would obey.</summary>
    public static string Quote(string text)
    {
        var clean = new string([.. text.Select(c => char.IsControl(c) || char.IsSurrogate(c) ? '?' : c)]);
        return clean.Length <= 60 ? clean : clean[..57] + "...";
    }

    private static string Above(string path)
    {
        var cut = Math.Max(path.LastIndexOf('.'), path.LastIndexOf('['));
        return cut < 0 ? "" : path[..cut];
    }
}
