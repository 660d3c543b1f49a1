namespace BuildRunner.Tests.Architecture;

/// <summary>The map of the house: which room may use which. A new room is a new row here, and a new edge a difference that someone reviews.</summary>
internal static class RoomMap
{
    /// <summary>Layers: what a project may reference.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> Layers = new Dictionary<string, string[]>
    {
        ["BuildRunner.Core"] = [],
        ["BuildRunner.Client"] = ["BuildRunner.Core"],
        ["BuildRunner.Application"] = ["BuildRunner.Core"],
        ["BuildRunner.Server"] = ["BuildRunner.Client"],
        ["BuildRunner.Dashboard"] = ["BuildRunner.Client"],
        ["BuildRunner"] = ["BuildRunner.Dashboard", "BuildRunner.Server"],
        ["Shop"] = ["BuildRunner.Application"],
    };

    /// <summary>Rooms inside BuildRunner.Server, in rows: a room may use the rooms of the rows above its own, never its neighbours.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> Server = Rows(
        [
            ["Storage"],
            ["Events"],
            ["Hosting"], // its own row: loops (ReconcileLoop) and problem answers are for every room below
            ["Access", "Policy"],
            ["Runbooks"],
            ["Databases"],
            ["Regions"],
            ["Performance"],
            ["Routing", "Caching", "Alerting", "LoadTesting"],
            ["Scaling", "Canary", "Recovery"],
        ],
        // Roles on a host: they must serve when all else is away, so they stand on next to nothing.
        ("Gateway", ["Hosting", "Caching.Tier"]),
        ("Agent", ["Hosting"]),
        ("Guard", ["Hosting.Priority"]));

    /// <summary>Rooms inside BuildRunner.Core.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> Core = Rows(
        [
            ["Databases", "Caching", "Canary"],
            ["Regions"],
            ["Routing", "Performance", "Scaling", "LoadTesting"],
            ["Policy"],
            ["Alerting", "Runbooks"],
            ["Recovery"],
        ]);

    private static Dictionary<string, string[]> Rows(string[][] rows, params (string Room, string[] Uses)[] apart)
    {
        var map = new Dictionary<string, string[]>();
        for (var row = 0; row < rows.Length; row++)
        {
            foreach (var room in rows[row])
                map[room] = [.. rows[..row].SelectMany(r => r)];
        }
        foreach (var (room, uses) in apart)
            map[room] = uses;
        return map;
    }
}
