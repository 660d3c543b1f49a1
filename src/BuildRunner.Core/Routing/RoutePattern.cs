namespace BuildRunner.Core.Routing;

/// <summary>
/// A path pattern taken apart: literal segments, `*` (exactly one segment), `**` at the end (any rest, also none).
/// Matching ignores case and empty segments: an application may treat `/Account` and `//account` as `/account`, and a rule on data residency must then hold too.
/// </summary>
public sealed class RoutePattern : IComparable<RoutePattern>
{
    private readonly string[] _segments;
    private readonly bool _anyRest;

    public RoutePattern(string text)
    {
        if (!TryReadSegments(text, out _segments, out _anyRest, out var error))
            throw new FormatException(error);
        Text = text;
    }

    public string Text { get; }

    /// <summary>The first segment when it is literal; null when anything may stand there.</summary>
    public string? FirstLiteral => _segments.Length > 0 && _segments[0] != "*" ? _segments[0] : null;

    /// <summary>What is wrong with a pattern's text; null: nothing.</summary>
    public static string? Fault(string text) => TryReadSegments(text, out _, out _, out var error) ? null : error;

    public bool Matches(ReadOnlySpan<char> path)
    {
        foreach (var segment in _segments)
        {
            if (!NextSegment(ref path, out var part) || !(segment == "*" || part.Equals(segment, StringComparison.OrdinalIgnoreCase)))
                return false;
        }
        return _anyRest || !NextSegment(ref path, out _);
    }

    /// <summary>The more specific first: segment by segment a literal goes before `*` and `*` before `**`; then the longer.</summary>
    public int CompareTo(RoutePattern? other)
    {
        if (other is null)
            return -1;
        for (var i = 0; i < Math.Max(_segments.Length, other._segments.Length); i++)
        {
            var order = Rank(i).CompareTo(other.Rank(i));
            if (order != 0)
                return order;
        }
        var rest = _anyRest.CompareTo(other._anyRest);
        return rest != 0 ? rest : string.CompareOrdinal(Text, other.Text);
    }

    public override bool Equals(object? obj) => obj is RoutePattern other && Text == other.Text;
    public override int GetHashCode() => Text.GetHashCode(StringComparison.Ordinal);
    public override string ToString() => Text;

    public static bool operator ==(RoutePattern? left, RoutePattern? right) => Equals(left, right);
    public static bool operator !=(RoutePattern? left, RoutePattern? right) => !Equals(left, right);
    public static bool operator <(RoutePattern left, RoutePattern right) => left.CompareTo(right) < 0;
    public static bool operator >(RoutePattern left, RoutePattern right) => left.CompareTo(right) > 0;
    public static bool operator <=(RoutePattern left, RoutePattern right) => left.CompareTo(right) <= 0;
    public static bool operator >=(RoutePattern left, RoutePattern right) => left.CompareTo(right) >= 0;

    /// <summary>Takes the next non-empty segment off a path; false when there is none.</summary>
    public static bool NextSegment(ref ReadOnlySpan<char> path, out ReadOnlySpan<char> segment)
    {
        path = path.TrimStart('/');
        if (path.IsEmpty)
        {
            segment = default;
            return false;
        }
        var end = path.IndexOf('/');
        segment = end < 0 ? path : path[..end];
        path = end < 0 ? default : path[end..];
        return true;
    }

    private int Rank(int index) => index < _segments.Length ? (_segments[index] == "*" ? 1 : 0) : 2;

    private static bool TryReadSegments(string text, out string[] segments, out bool anyRest, out string error)
    {
        segments = [];
        anyRest = false;
        error = $"'{text}' is not a path pattern; write it as /api/orders, /api/orders/* or /assets/**.";
        if (string.IsNullOrEmpty(text) || text[0] != '/' || text.AsSpan().IndexOfAny('?', '#') >= 0)
            return false;
        var parts = text.Split('/', StringSplitOptions.RemoveEmptyEntries);
        anyRest = parts.Length > 0 && parts[^1] == "**";
        segments = anyRest ? parts[..^1] : parts;
        return segments.All(s => s == "*" || !s.Contains('*', StringComparison.Ordinal));
    }
}
