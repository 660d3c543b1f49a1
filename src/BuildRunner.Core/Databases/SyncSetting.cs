using System.Text.RegularExpressions;

namespace BuildRunner.Core.Databases;

/// <summary>A value of `synchronous_standby_names`: how many of which copies must have flushed a commit before it is answered.</summary>
/// <param name="Any">Any of them; else the first ones that are connected, in their order.</param>
/// <param name="Required">How many.</param>
/// <param name="Members">Names of standbys, the gate's among them.</param>
public sealed partial record SyncSetting(bool Any, int Required, IReadOnlyList<string> Members)
{
    /// <summary>A commit waits for nobody.</summary>
    public static SyncSetting None { get; } = new(false, 0, []);

    /// <summary>A commit waits for the guard, which confirms nothing from its deadline on.</summary>
    public static SyncSetting Gate { get; } = new(false, 1, [GateName.Value]);

    /// <summary>Commits wait for one copy.</summary>
    public static SyncSetting First(string region) => new(false, 1, [region]);

    /// <summary>Commits wait for the faster half of the copies.</summary>
    public static SyncSetting Quorum(IReadOnlyList<string> regions) => new(true, (regions.Count + 1) / 2, regions);

    public bool IsGate => Members is [GateName.Value];

    /// <summary>Regions that are waited for: the guard is none.</summary>
    public IReadOnlyList<string> Regions => [.. Members.Where(m => m != GateName.Value)];

    /// <summary>As PostgreSQL writes it; empty: nobody is waited for.</summary>
    public string Names => Required == 0 || Members.Count == 0 ? ""
        : string.Create(CultureInfo.InvariantCulture, $"{(Any ? "ANY" : "FIRST")} {Required} ({string.Join(", ", Members.Select(Quote))})");

    /// <summary>What a setting that was read means; one that is not understood promises nothing.</summary>
    public static SyncSetting Parse(string names)
    {
        if (names.Trim().Length == 0)
            return None;
        var form = Form().Match(names);
        var (list, any, required) = form.Success
            ? (form.Groups["list"].Value, form.Groups["how"].Value.Equals("ANY", StringComparison.OrdinalIgnoreCase), int.Parse(form.Groups["count"].Value, CultureInfo.InvariantCulture))
            : (names, false, 1);
        IReadOnlyList<string> members = [.. list.Split(',').Select(m => m.Trim().Trim('"').Replace("\"\"", "\"", StringComparison.Ordinal))];
        return members.Contains("*") || members.Count < required ? new SyncSetting(any, 0, members) : new SyncSetting(any, required, members);
    }

    private static string Quote(string name) => name == GateName.Value ? name : $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    [GeneratedRegex("""^\s*(?:(?<how>ANY|FIRST)\s+)?(?<count>[0-9]{1,4})\s*\((?<list>.*)\)\s*$""", RegexOptions.IgnoreCase | RegexOptions.Singleline)]
    private static partial Regex Form();
}
