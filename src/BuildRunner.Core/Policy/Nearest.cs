namespace BuildRunner.Core.Policy;

/// <summary>Finds what somebody probably meant.</summary>
public static class Nearest
{
    /// <summary>The known name nearest to what was written; null when none is near enough to be a slip of the finger.</summary>
    public static string? To(string written, IEnumerable<string> known)
    {
        string? best = null;
        var bestDistance = int.MaxValue;
        foreach (var name in known)
        {
            var distance = Distance(written.ToLowerInvariant(), name.ToLowerInvariant());
            if (distance < bestDistance)
                (best, bestDistance) = (name, distance);
        }
        return best is not null && bestDistance <= Math.Max(1, Math.Min(written.Length, best.Length) / 3) ? best : null;
    }

    /// <summary>`Did you mean …?`, or the whole choice.</summary>
    public static string Fix(string written, IReadOnlyCollection<string> known) =>
        To(written, known) is { } near ? $"Did you mean `{near}`?"
        : known.Count == 0 ? "Nothing is known here: remove it."
        : $"Known here: {string.Join(", ", known.Order(StringComparer.Ordinal).Take(40))}.";

    /// <summary>Edit distance in which a swap of neighbours is one edit; long texts count as far.</summary>
    public static int Distance(string a, string b)
    {
        if (a.Length > 64 || b.Length > 64)
            return a == b ? 0 : int.MaxValue;
        var rows = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
            rows[i, 0] = i;
        for (var j = 0; j <= b.Length; j++)
            rows[0, j] = j;
        for (var i = 1; i <= a.Length; i++)
        {
            for (var j = 1; j <= b.Length; j++)
            {
                var change = a[i - 1] == b[j - 1] ? 0 : 1;
                var least = Math.Min(Math.Min(rows[i - 1, j] + 1, rows[i, j - 1] + 1), rows[i - 1, j - 1] + change);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    least = Math.Min(least, rows[i - 2, j - 2] + 1);
                rows[i, j] = least;
            }
        }
        return rows[a.Length, b.Length];
    }
}
