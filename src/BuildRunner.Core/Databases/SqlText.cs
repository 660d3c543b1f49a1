namespace BuildRunner.Core.Databases;

/// <summary>What can be told of a statement without understanding it.</summary>
public static class SqlText
{
    /// <summary>Whether it is one statement: nothing but space and comments follows a semicolon outside of quotes.</summary>
    public static bool IsOne(string text)
    {
        var ended = false;
        for (var at = 0; at < text.Length;)
        {
            var next = Next(text, at, out var speaks, out var ends);
            if (ended && (speaks || ends))
                return false;
            ended |= ends;
            at = next;
        }
        return true;
    }

    /// <summary>Where the next piece begins; whether this one says something, or ends the statement.</summary>
    private static int Next(string text, int at, out bool speaks, out bool ends)
    {
        var rest = text.AsSpan(at);
        (speaks, ends) = (true, false);
        if (char.IsWhiteSpace(rest[0]))
        {
            speaks = false;
            return at + 1;
        }
        if (rest.StartsWith("--"))
        {
            speaks = false;
            return rest.IndexOf('\n') is >= 0 and var line ? at + line + 1 : text.Length;
        }
        if (rest.StartsWith("/*"))
        {
            speaks = false;
            return AfterComment(text, at);
        }
        if (rest[0] == ';')
        {
            (speaks, ends) = (false, true);
            return at + 1;
        }
        if (rest[0] is '\'' or '"')
            return AfterQuote(text, at, escapes: rest[0] == '\'' && at > 0 && text[at - 1] is 'e' or 'E');
        if (rest[0] == '$' && rest[1..].IndexOf('$') is >= 0 and var end && rest.Slice(1, end).IndexOfAnyExcept(Tag) < 0 && (end == 0 || !char.IsDigit(rest[1])))
        {
            var tag = rest[..(end + 2)];
            return rest[tag.Length..].IndexOf(tag) is >= 0 and var close ? at + tag.Length + close + tag.Length : text.Length;
        }
        return at + 1;
    }

    private static readonly System.Buffers.SearchValues<char> Tag = System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

    private static int AfterQuote(string text, int at, bool escapes)
    {
        var quote = text[at];
        for (var i = at + 1; i < text.Length; i++)
        {
            if (escapes && text[i] == '\\')
                i++;
            else if (text[i] == quote)
                return i + 1; // a doubled one begins the next piece, which is quoted too
        }
        return text.Length;
    }

    private static int AfterComment(string text, int at)
    {
        var depth = 0;
        for (var i = at; i + 1 < text.Length; i++)
        {
            if (text[i] == '/' && text[i + 1] == '*')
                (depth, i) = (depth + 1, i + 1);
            else if (text[i] == '*' && text[i + 1] == '/' && --depth == 0)
                return i + 2;
            else if (text[i] == '*' && text[i + 1] == '/')
                i++;
        }
        return text.Length;
    }
}
