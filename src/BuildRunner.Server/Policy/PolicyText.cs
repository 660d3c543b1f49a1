using System.Text;
using BuildRunner.Core.Policy;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace BuildRunner.Server.Policy;

/// <summary>What a policy's bytes hold: a tree with places, and everything that is wrong with the text itself.</summary>
internal sealed record PolicyText(PolicyNode? Root, IReadOnlyList<PolicyError> Errors)
{
    public const int BytesMax = 1024 * 1024;

    /// <summary>Each error of syntax costs its line and another pass over the text: beyond this many the rest is not worth reading.</summary>
    private const int RepairsMax = 25;

    /// <summary>What editors take a tab for.</summary>
    private static readonly int[] TabWidths = [2, 4, 8];

    public static PolicyText Read(ReadOnlyMemory<byte> bytes, string file, string noun = "policy")
    {
        var top = new PolicyPosition(file, 1, 1);
        if (bytes.Length > BytesMax)
            return new(null, [new(top, "", $"The file has {bytes.Length:N0} bytes.", $"At most {BytesMax:N0}.")]);
        string text;
        try { text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes.Span); }
        catch (DecoderFallbackException error)
        {
            var line = 1 + bytes.Span[..Math.Clamp(error.Index, 0, bytes.Length)].Count((byte)'\n');
            return new(null, [new(new(file, line, 1), "", "The text is not UTF-8.", "Save the file as UTF-8.")]);
        }
        var lines = text.TrimStart('\ufeff').ReplaceLineEndings("\n").Split('\n');
        var errors = new List<PolicyError>();
        ReplaceTabs(lines, file, errors);
        for (var repair = 0; repair <= RepairsMax; repair++)
        {
            var tree = new PolicyTree(file, noun);
            if (tree.Read(string.Join('\n', lines)) is not { } broken)
            {
                errors.AddRange(tree.Errors);
                if (tree.Root is PolicyNode.Scalar { IsNothing: true } or null)
                    return new(null, errors.Count > 0 ? errors : [new(top, "", $"The {noun} is empty.", $"Copy {(noun == "policy" ? "governance/policy.yml" : $"one of governance/{noun}s")} and change it.")]);
                return new(tree.Root, errors);
            }
            var at = Math.Clamp(broken.At.Line, 1, lines.Length) - 1;
            if (errors.Exists(e => e.At.Line == at + 1 && e.Message == broken.Message) || string.IsNullOrWhiteSpace(lines[at]))
            {
                // The line was emptied and it did not help: what follows cannot be told apart.
                errors.Add(broken with { Fix = $"{broken.Fix} What follows could not be read." });
                return new(null, errors);
            }
            errors.Add(broken);
            lines[at] = Salvage(lines[at]);
        }
        return new(null, errors);
    }

    /// <summary>Keeps the key of a broken line, so that what stands indented below it keeps its place.</summary>
    private static string Salvage(string line)
    {
        var body = line.TrimStart(' ');
        var key = body.TakeWhile(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-').Count();
        return key > 0 && key < body.Length && body[key] == ':' && body[(key + 1)..].Trim().Length > 0 ? $"{line[..^body.Length]}{body[..key]}:" : "";
    }

    /// <summary>
    /// Reports indentation by tabs and replaces it, so that it hides nothing else: by the indentation that the same tabs stood for before, else by
    /// one that continues what is open.
    /// </summary>
    private static void ReplaceTabs(string[] lines, string file, List<PolicyError> errors)
    {
        var meant = new Dictionary<string, int>(StringComparer.Ordinal);
        var open = new Stack<int>();
        var opens = false;
        for (var i = 0; i < lines.Length; i++)
        {
            var body = lines[i].TrimStart(' ', '\t');
            if (body.Length == 0 || body[0] == '#')
            {
                lines[i] = body;
                continue;
            }
            var prefix = lines[i][..^body.Length];
            var indent = prefix.Length;
            if (prefix.Contains('\t'))
            {
                errors.Add(new(new(file, i + 1, prefix.IndexOf('\t') + 1), "", "The line is indented with a tab.", "Indent with spaces, two a level."));
                var last = open.TryPeek(out var top) ? top : 0;
                int[] widths = [.. TabWidths.Select(width => prefix.Sum(c => c == '\t' ? width : 1))];
                indent = meant.TryGetValue(prefix, out var before) && (opens ? before > last : open.Contains(before)) ? before
                    : opens ? widths.FirstOrDefault(w => w > last, last + 2)
                    : widths.Contains(last) ? last : widths.FirstOrDefault(open.Contains, last);
                meant[prefix] = indent;
                lines[i] = new string(' ', indent) + body;
            }
            while (open.TryPeek(out var deeper) && deeper > indent)
                open.Pop();
            if (!open.Contains(indent))
                open.Push(indent);
            opens = body.Split(" #")[0].TrimEnd().EndsWith(':');
        }
    }
}

/// <summary>One pass over the text by YamlDotNet's events, into our own tree; what YAML allows and a policy does not is an error here.</summary>
internal sealed class PolicyTree(string file, string noun)
{
    private const int DepthMax = 24;
    private const int NodesMax = 100_000;
    private readonly List<PolicyError> _errors = [];
    private int _nodes;
    private PolicyPosition _last = new(file, 1, 1);

    public PolicyNode? Root { get; private set; }

    public IReadOnlyList<PolicyError> Errors => _errors;

    /// <summary>The error that ended the pass; null: the text was read to its end.</summary>
    public PolicyError? Read(string text)
    {
        try
        {
            var parser = new Parser(new Scanner(new StringReader(text), skipComments: true));
            while (parser.MoveNext())
            {
                switch (parser.Current)
                {
                    case StreamStart or StreamEnd or DocumentEnd:
                        break;
                    case DocumentStart start:
                        if (Root is not null)
                        {
                            Wrong(start, "", "A second document begins here.", $"A {noun} is one document: remove the line `---`.");
                            return null;
                        }
                        if (start.Tags is { Count: > 0 } && start.Tags.Any(t => !IsStandard(t.Handle)))
                            Wrong(start, "", $"A directive has no place in a {noun}.", "Remove it.");
                        break;
                    case var _ when Root is null:
                        Root = Node(parser, "", 0);
                        break;
                    default:
                        return null;
                }
            }
            return null;
        }
        catch (TooDeepException) { return new(_last, "", $"More than {DepthMax} levels, or {NodesMax:N0} values.", $"A {noun} has a few levels only."); }
        catch (YamlException error) { return new(new(file, Math.Max(1, (int)error.Start.Line), Math.Max(1, (int)error.Start.Column)), "", $"The line cannot be read: {Sentence(error)}.", "Check its quotes, brackets, colons and indentation."); }
        // The parser meets any bytes; whatever else it throws on them is a text that cannot be read, and not our failure.
        catch (Exception error) when (error is not OutOfMemoryException) { return new(_last, "", $"The text after here cannot be read: {error.Message}", "Check its quotes, brackets, colons and indentation."); }
    }

    private PolicyNode Node(Parser parser, string path, int depth)
    {
        var at = Position(parser.Current!);
        _last = at;
        if (depth > DepthMax || ++_nodes > NodesMax)
            throw new TooDeepException();
        if (parser.Current is NodeEvent node)
            CheckNode(node, path);
        switch (parser.Current)
        {
            case Scalar scalar:
                return new PolicyNode.Scalar(scalar.Value, scalar.Style == ScalarStyle.Plain) { At = at };
            case SequenceStart:
                var items = new List<PolicyNode>();
                while (Next(parser) is not SequenceEnd)
                    items.Add(Node(parser, $"{path}[{items.Count}]", depth + 1));
                return new PolicyNode.Sequence(items) { At = at };
            case MappingStart:
                return Mapping(parser, path, depth, at);
            case AnchorAlias alias:
                Wrong(alias, path, $"An alias (`*name`) has no place in a {noun}.", "Write the value itself.");
                return new PolicyNode.Scalar("") { At = at };
            default:
                throw new SyntaxErrorException(parser.Current!.Start, parser.Current.End, "unexpected content");
        }
    }

    private PolicyNode.Mapping Mapping(Parser parser, string path, int depth, PolicyPosition at)
    {
        var entries = new List<PolicyEntry>();
        var lines = new Dictionary<string, int>(StringComparer.Ordinal);
        while (Next(parser) is not MappingEnd)
        {
            var keyAt = Position(parser.Current!);
            var key = (Node(parser, path, depth + 1) as PolicyNode.Scalar)?.Text;
            Next(parser);
            var child = path.Length == 0 ? key ?? "?" : $"{path}.{key ?? "?"}";
            var value = Node(parser, child, depth + 1);
            if (key is null)
                _errors.Add(new(keyAt, path, "A list or mapping stands where a key belongs.", "A key is a single word."));
            else if (key == "<<")
                _errors.Add(new(keyAt, path, $"A merge (`<<`) has no place in a {noun}.", "Write the keys themselves."));
            else if (lines.TryGetValue(key, out var former))
                _errors.Add(new(keyAt, child, $"`{PolicyReadingQuote(key)}` stands here already, in line {former}.", $"Remove the one in line {former} or this one."));
            else
                entries.Add(new(key, keyAt, value));
            if (key is not null)
                lines.TryAdd(key, keyAt.Line);
        }
        return new(entries) { At = at };
    }

    private void CheckNode(NodeEvent node, string path)
    {
        if (!node.Anchor.IsEmpty)
            Wrong(node, path, $"An anchor (`&name`) has no place in a {noun}.", "Remove it, and write values where they are meant.");
        if (!node.Tag.IsEmpty)
            Wrong(node, path, $"A type tag (`!name`) has no place in a {noun}.", "Remove it.");
    }

    private ParsingEvent Next(Parser parser)
    {
        if (!parser.MoveNext())
            throw new SyntaxErrorException(parser.Current?.Start ?? Mark.Empty, parser.Current?.End ?? Mark.Empty, "the text ends too early");
        _last = Position(parser.Current!);
        return parser.Current!;
    }

    private void Wrong(ParsingEvent at, string path, string message, string fix) => _errors.Add(new(Position(at), path, message, fix));

    private PolicyPosition Position(ParsingEvent at) => new(file, (int)at.Start.Line, (int)at.Start.Column);

    private static bool IsStandard(string handle) => handle is "!" or "!!";

    private static string PolicyReadingQuote(string text) => text.Length <= 60 ? new([.. text.Select(c => char.IsControl(c) ? '?' : c)]) : "a long key";

    /// <summary>YamlDotNet's words as the end of a sentence.</summary>
    private static string Sentence(YamlException error)
    {
        var words = error.InnerException?.Message ?? error.Message;
        var end = words.StartsWith("(Line", StringComparison.Ordinal) ? words.LastIndexOf("): ", StringComparison.Ordinal) : -1;
        words = (end >= 0 ? words[(end + 3)..] : words).TrimEnd('.', ' ');
        words = new([.. words.Select(c => char.IsControl(c) ? ' ' : c)]);
        return words.Length == 0 ? "YAML expects something else" : char.ToLowerInvariant(words[0]) + words[1..];
    }

    private sealed class TooDeepException : Exception;
}
