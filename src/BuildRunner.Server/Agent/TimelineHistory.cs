using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>Where timelines forked from each other, as PostgreSQL's `.history` files say: a line `parent TAB position TAB reason`.</summary>
internal static class TimelineHistory
{
    /// <summary>Position at which a timeline was left, by the history of a later one; null: it is no ancestor.</summary>
    public static Lsn? LeftAt(string history, int timeline)
    {
        foreach (var (parent, at) in Lines(history))
        {
            if (parent == timeline)
                return at;
        }
        return null;
    }

    /// <summary>Position at which the history's own timeline began: its last line; null: there is none.</summary>
    public static Lsn? Began(string history) => Lines(history).Select(line => (Lsn?)line.At).LastOrDefault();

    /// <summary>The timelines that this history names are, to the last, those that the other one begins with.</summary>
    public static bool Begins(string history, string other) => Lines(other).Take(Lines(history).Count()).SequenceEqual(Lines(history));

    /// <summary>Number of a timeline, by the name of a WAL file of its.</summary>
    public static int NumberOf(string walFile) => int.Parse(walFile.AsSpan(0, 8), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    public static string FileName(int timeline) => string.Create(CultureInfo.InvariantCulture, $"{timeline:X8}.history");

    private static IEnumerable<(int Parent, Lsn At)> Lines(string history)
    {
        foreach (var line in history.Split('\n'))
        {
            var fields = line.Split('\t');
            if (fields.Length >= 2 && int.TryParse(fields[0], CultureInfo.InvariantCulture, out var parent) && Lsn.TryParse(fields[1], out var at))
                yield return (parent, at);
        }
    }
}
