namespace BuildRunner.Core.Runbooks;

/// <summary>
/// A small expression over inputs and outputs: `${a} == 'x'`, `!=`, `&amp;&amp;`, `||`, `!`, brackets; a value alone holds when it is not empty.
/// It has no effect, no loop and no clock.
/// </summary>
public static class Condition
{
    public const int LengthMax = 500;
    private const int DepthMax = 20;

    /// <summary>What is wrong with it; null: nothing.</summary>
    public static string? Wrong(string text) => new Parser(text).Parse().Wrong;

    /// <summary>Whether it holds; a name without a value is empty. Throws on one that is wrong.</summary>
    public static bool Holds(string text, IReadOnlyDictionary<string, string> inputs, IReadOnlyDictionary<string, string> outputs) =>
        new Parser(text).Parse() is { Node: { } node, Wrong: null }
            ? node.Holds(name => (name.Contains('.', StringComparison.Ordinal) ? outputs : inputs).GetValueOrDefault(name, ""))
            : throw new FormatException($"'{text}' is no condition: {Wrong(text)}");

    private abstract record Node
    {
        public abstract bool Holds(Func<string, string> value);

        public sealed record Or(Node Left, Node Right) : Node
        {
            public override bool Holds(Func<string, string> value) => Left.Holds(value) || Right.Holds(value);
        }

        public sealed record And(Node Left, Node Right) : Node
        {
            public override bool Holds(Func<string, string> value) => Left.Holds(value) && Right.Holds(value);
        }

        public sealed record Not(Node Inner) : Node
        {
            public override bool Holds(Func<string, string> value) => !Inner.Holds(value);
        }

        public sealed record Same(Operand Left, Operand Right) : Node
        {
            public override bool Holds(Func<string, string> value) => Left.Of(value) == Right.Of(value);
        }

        public sealed record Filled(Operand One) : Node
        {
            public override bool Holds(Func<string, string> value) => One.Of(value).Length > 0;
        }
    }

    private readonly record struct Operand(string Text, bool IsName)
    {
        public string Of(Func<string, string> value) => IsName ? value(Text) : Text;
    }

    private sealed class Parser(string text)
    {
        private int _at;
        private string? _wrong;

        public (Node? Node, string? Wrong) Parse()
        {
            if (text.Length > LengthMax)
                return (null, string.Create(CultureInfo.InvariantCulture, $"it is longer than {LengthMax} characters"));
            var node = Or(0);
            Space();
            if (_wrong is null && _at < text.Length)
                Fail($"'{text[_at]}' is not expected here");
            return (node, _wrong);
        }

        private Node? Or(int depth)
        {
            var left = And(depth);
            while (left is not null && Takes("||"))
                left = And(depth) is { } right ? new Node.Or(left, right) : null;
            return left;
        }

        private Node? And(int depth)
        {
            var left = Unary(depth);
            while (left is not null && Takes("&&"))
                left = Unary(depth) is { } right ? new Node.And(left, right) : null;
            return left;
        }

        private Node? Unary(int depth)
        {
            if (depth > DepthMax)
                return Fail("it is nested too deep");
            if (Peek() == '!' && !Ahead("!="))
            {
                _at++;
                return Unary(depth + 1) is { } inner ? new Node.Not(inner) : null;
            }
            if (Takes("("))
            {
                var inner = Or(depth + 1);
                return inner is null ? null : Takes(")") ? inner : Fail("a ')' is missing");
            }
            if (Value() is not { } left)
                return null;
            if (Takes("=="))
                return Value() is { } right ? new Node.Same(left, right) : null;
            if (Takes("!="))
                return Value() is { } right ? new Node.Not(new Node.Same(left, right)) : null;
            return new Node.Filled(left);
        }

        private Operand? Value()
        {
            switch (Peek())
            {
                case '$' when Ahead("${"):
                    var close = text.IndexOf('}', _at);
                    if (close < 0)
                        return FailValue("a '}' is missing");
                    var name = text[(_at + 2)..close];
                    if (name.Length == 0 || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '.'))
                        return FailValue($"'{name}' is no name");
                    _at = close + 1;
                    return new Operand(name, true);
                case '\'' or '"':
                    var quote = text[_at];
                    var end = text.IndexOf(quote, _at + 1);
                    if (end < 0)
                        return FailValue("a quote is not closed");
                    var said = text[(_at + 1)..end];
                    _at = end + 1;
                    return new Operand(said, false);
                case null:
                    return FailValue("it ends too early");
                default:
                    var from = _at;
                    while (_at < text.Length && (char.IsAsciiLetterOrDigit(text[_at]) || text[_at] is '_' or '-' or '.'))
                        _at++;
                    return _at > from ? new Operand(text[from.._at], false) : FailValue($"'{text[_at]}' is not expected here");
            }
        }

        private char? Peek()
        {
            Space();
            return _at < text.Length ? text[_at] : null;
        }

        private bool Ahead(string sign) => string.CompareOrdinal(text, _at, sign, 0, sign.Length) == 0;

        private bool Takes(string sign)
        {
            Space();
            if (!Ahead(sign))
                return false;
            _at += sign.Length;
            return true;
        }

        private void Space()
        {
            while (_at < text.Length && char.IsWhiteSpace(text[_at]))
                _at++;
        }

        private Node? Fail(string wrong)
        {
            _wrong ??= wrong;
            return null;
        }

        private Operand? FailValue(string wrong)
        {
            _wrong ??= wrong;
            return null;
        }
    }
}
