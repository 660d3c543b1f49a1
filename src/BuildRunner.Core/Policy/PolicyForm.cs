using System.Diagnostics.CodeAnalysis;

namespace BuildRunner.Core.Policy;

/// <summary>How a value is written: read from a node, written back to one, described to people.</summary>
internal abstract class PolicyForm<T>
{
    /// <summary>What it is, for the reference page: `duration`, `percent`.</summary>
    public abstract string Words { get; }

    public abstract bool TryRead(PolicyNode node, PolicyPath path, PolicyReading reading, [MaybeNullWhen(false)] out T value);

    /// <summary>Null: nothing to write.</summary>
    public abstract PolicyNode? Write(T value);
}

/// <summary>A scalar's text, judged: a value, or what is wrong and what to write instead.</summary>
internal readonly record struct Judged<T>(T? Value, string? Wrong = null, string Fix = "")
{
    public static Judged<T> Error(string wrong, string fix) => new(default, wrong, fix);
}

/// <summary>A form that is one scalar; also how an environment variable is read.</summary>
internal sealed class ScalarForm<T>(string words, Func<string, Judged<T>> judge, Func<T, string> print, Func<string, PolicyReading, string?>? alsoWrong = null, string alsoFix = "") : PolicyForm<T>
{
    public override string Words => words;

    public Judged<T> Judge(string text) => judge(text);

    public override bool TryRead(PolicyNode node, PolicyPath path, PolicyReading reading, [MaybeNullWhen(false)] out T value)
    {
        value = default;
        if (node is not PolicyNode.Scalar scalar)
        {
            reading.Wrong(node.At, path, $"A single value belongs here ({words}), not a {PolicyReading.KindOf(node)}.", "Write it on the key's own line.");
            return false;
        }
        if (scalar.IsNothing)
        {
            reading.Wrong(node.At, path, "Nothing is written here.", $"Write a value ({words}) or remove the key.");
            return false;
        }
        var judged = judge(scalar.Text);
        if (judged.Wrong is null && alsoWrong?.Invoke(scalar.Text, reading) is { } more)
            judged = Judged<T>.Error(more, alsoFix);
        if (judged.Wrong is not null)
        {
            reading.Wrong(node.At, path, judged.Wrong, judged.Fix);
            return false;
        }
        value = judged.Value!;
        return true;
    }

    public override PolicyNode? Write(T value) => value is null ? null : new PolicyNode.Scalar(print(value));
}

/// <summary>A value that may be absent.</summary>
internal sealed class OptionalForm<T>(PolicyForm<T> form) : PolicyForm<T?>
    where T : struct
{
    public override string Words => form.Words;

    public override bool TryRead(PolicyNode node, PolicyPath path, PolicyReading reading, out T? value)
    {
        var read = form.TryRead(node, path, reading, out var found);
        value = read ? found : null;
        return read;
    }

    public override PolicyNode? Write(T? value) => value is { } there ? form.Write(there) : null;
}

internal sealed class ListForm<T>(PolicyForm<T> item, string words, bool splitsText = false) : PolicyForm<IReadOnlyList<T>>
{
    private const int ItemsMax = 200;

    public override string Words => words;

    public override bool TryRead(PolicyNode node, PolicyPath path, PolicyReading reading, [MaybeNullWhen(false)] out IReadOnlyList<T> value)
    {
        value = null;
        if (splitsText && node is PolicyNode.Scalar { IsNothing: false } line)
            node = new PolicyNode.Sequence([.. line.Text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(word => new PolicyNode.Scalar(word, Plain: false) { At = line.At })]) { At = line.At };
        if (node is not PolicyNode.Sequence sequence)
        {
            reading.Wrong(node.At, path, $"A list belongs here, not a {PolicyReading.KindOf(node)}.", "Write it as [a, b].");
            return false;
        }
        if (sequence.Items.Count > ItemsMax)
        {
            reading.Wrong(node.At, path, $"{sequence.Items.Count} items are too many.", $"At most {ItemsMax}.");
            return false;
        }
        var items = new List<T>(sequence.Items.Count);
        for (var i = 0; i < sequence.Items.Count; i++)
        {
            var at = path.Item(i);
            reading.Place(at, sequence.Items[i].At);
            if (!item.TryRead(sequence.Items[i], at, reading, out var found))
                continue;
            if (!splitsText && items.Contains(found))
                reading.Wrong(sequence.Items[i].At, at, $"'{PolicyReading.Quote(PolicyYaml.Flat(item.Write(found)))}' is listed twice.", "Remove one.");
            items.Add(found);
        }
        value = items;
        return true;
    }

    public override PolicyNode? Write(IReadOnlyList<T> value) => value is null ? null : new PolicyNode.Sequence([.. value.Select(v => item.Write(v)!)]);
}

/// <summary>Free names with values: environment variables, endpoints by region.</summary>
internal sealed class MapForm<T>(PolicyForm<T> item, string words, Func<string, string?> nameWrong) : PolicyForm<IReadOnlyDictionary<string, T>>
{
    public override string Words => words;

    public override bool TryRead(PolicyNode node, PolicyPath path, PolicyReading reading, [MaybeNullWhen(false)] out IReadOnlyDictionary<string, T> value)
    {
        value = null;
        if (node is not PolicyNode.Mapping mapping)
        {
            reading.Wrong(node.At, path, $"Names with values belong here, not a {PolicyReading.KindOf(node)}.", "Write `NAME: value`, one a line, indented.");
            return false;
        }
        var found = new SortedDictionary<string, T>(StringComparer.Ordinal);
        foreach (var entry in mapping.Entries)
        {
            var at = path.Child(entry.Key);
            reading.Place(at, entry.At);
            if (nameWrong(entry.Key) is { } wrong)
                reading.Wrong(entry.At, at, wrong, "Choose another name.");
            else if (item.TryRead(entry.Value, at, reading, out var one))
                found[entry.Key] = one;
        }
        value = found;
        return true;
    }

    public override PolicyNode? Write(IReadOnlyDictionary<string, T> value) =>
        new PolicyNode.Mapping([.. value.OrderBy(e => e.Key, StringComparer.Ordinal).Select(e => new PolicyEntry(e.Key, default, item.Write(e.Value)!))]);
}
