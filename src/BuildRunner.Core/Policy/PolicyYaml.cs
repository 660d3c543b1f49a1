using System.Text;

namespace BuildRunner.Core.Policy;

/// <summary>Writes a tree as YAML that reads back as the same tree.</summary>
internal static class PolicyYaml
{
    public static string Write(PolicyNode.Mapping root)
    {
        var text = new StringBuilder();
        Write(text, root, 0);
        return text.ToString();
    }

    /// <summary>A value on one line: `[a, b]`, `{NAME: value}`.</summary>
    public static string Flat(PolicyNode? node) => node switch
    {
        PolicyNode.Scalar scalar => scalar.Text,
        PolicyNode.Sequence sequence => $"[{string.Join(", ", sequence.Items.Select(FlatItem))}]",
        PolicyNode.Mapping mapping => $"{{{string.Join(", ", mapping.Entries.Select(e => $"{Scalar(e.Key)}: {FlatItem(e.Value)}"))}}}",
        _ => "",
    };

    private static string FlatItem(PolicyNode node) => node is PolicyNode.Scalar scalar ? Scalar(scalar.Text) : Flat(node);

    private static void Write(StringBuilder text, PolicyNode.Mapping mapping, int depth, bool inList = false)
    {
        foreach (var (entry, first) in mapping.Entries.Select((e, i) => (e, i == 0)))
        {
            text.Append(' ', first && inList ? 0 : depth * 2).Append(Scalar(entry.Key)).Append(':');
            switch (entry.Value)
            {
                case PolicyNode.Mapping { Entries.Count: > 0 } inner:
                    text.Append('\n');
                    Write(text, inner, depth + 1);
                    break;
                case PolicyNode.Sequence { Items: [PolicyNode.Mapping, ..] items }:
                    text.Append('\n');
                    foreach (var item in items)
                    {
                        text.Append(' ', (depth + 1) * 2).Append("- ");
                        Write(text, (PolicyNode.Mapping)item, depth + 2, inList: true);
                    }
                    break;
                default:
                    text.Append(' ').Append(FlatItem(entry.Value)).Append('\n');
                    break;
            }
        }
    }

    private static string Scalar(string text)
    {
        if (text.Length > 0 && text is not ("null" or "~" or "true" or "false" or "yes" or "no" or "on" or "off" or "-") && IsPlain(text))
            return text;
        if (text is "true" or "false")
            return text;
        var quoted = new StringBuilder("\"");
        foreach (var c in text)
        {
            if (c is '"' or '\\')
                quoted.Append('\\').Append(c);
            else if (c < ' ' || c == 0x7f)
                quoted.Append("\\x").Append(((int)c).ToString("x2", CultureInfo.InvariantCulture));
            else
                quoted.Append(c);
        }
        return quoted.Append('"').ToString();
    }

    private static bool IsPlain(string text)
    {
        if (!char.IsAsciiLetterOrDigit(text[0]) && text[0] is not ('/' or '-' or '.') || text.StartsWith("---", StringComparison.Ordinal) || text.StartsWith("...", StringComparison.Ordinal) || text[0] == '-' && !char.IsAsciiLetterOrDigit(text[1]) && text[1] != '-')
            return false;
        foreach (var c in text)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('_' or '-' or '.' or '/' or '%' or '+'))
                return false;
        }
        return true;
    }
}
