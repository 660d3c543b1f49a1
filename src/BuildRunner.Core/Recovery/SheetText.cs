using System.Text;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>What the page says that is kept on paper for the day on which nothing answers.</summary>
public sealed record SheetFacts
{
    public required DateTimeOffset At { get; init; }
    public required string Version { get; init; }
    public required string Server { get; init; }
    public required string Database { get; init; }
    public string? Primary { get; init; }
    public long? Epoch { get; init; }
    public required RecoveryRules Rules { get; init; }

    /// <summary>The users' name; empty: none is kept.</summary>
    public required string Name { get; init; }
    public required IReadOnlyList<SheetRegion> Regions { get; init; }

    /// <summary>Says which key it is; null: no agent has reported it.</summary>
    public string? KeyFingerprint { get; init; }
    public required string PolicyHash { get; init; }
    public required string RunbookHash { get; init; }
}

/// <param name="Code">The region.</param>
/// <param name="Role">By the policy.</param>
/// <param name="Gateway">Base address.</param>
/// <param name="Database">`host:port` of its PostgreSQL; null: none.</param>
/// <param name="Agent">`host:port` at which its agent answers; null: nowhere.</param>
public sealed record SheetRegion(string Code, RegionRole Role, string Gateway, string? Database, string? Agent);

/// <summary>Writes the recovery sheet: one page, commands ready to type.</summary>
public static class SheetText
{
    /// <summary>What fits on a page at ten points.</summary>
    public const int LinesMax = 66;
    public const int ColumnsMax = 100;
    private const int HashShown = 16;

    /// <summary>The page without its last line, which bears the page's own hash.</summary>
    public static string Write(SheetFacts facts)
    {
        var text = new StringBuilder();
        void Line(string line = "") => text.Append(line).Append('\n');

        var targets = facts.Regions.Where(r => r.Agent is not null && r.Code != facts.Primary).ToList();
        Line($"RECOVERY SHEET of {(facts.Name.Length > 0 ? facts.Name : facts.Database)}, made {facts.At.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture)} UTC; anew after each change: br dr sheet");
        Line();
        Line("WHO TO CALL");
        foreach (var contact in facts.Rules.Contacts.DefaultIfEmpty("(nobody is named: recovery.contacts of the policy)"))
            Line($"  {contact}");
        Line();
        Line("WHAT IS PROMISED");
        Line($"  Back within {Units.Write(facts.Rules.Rto)}; at most {Units.Write(facts.Rules.Rpo)} of writes lost. Replication is {facts.Rules.Replication.ToString().ToLowerInvariant()}.");
        Line(facts.Rules.AutoFailover
            ? $"  A lost primary is replaced by itself once its lease of {Units.Write(facts.Rules.LeaseTtl)} has run out; not while the server is gone."
            : "  A person decides: automatic failover is off.");
        Line();
        Line("WHERE THINGS ARE");
        Line($"  server {facts.Server}");
        Line($"  {"region",-16}{"role",-10}{"gateway",-28}{"database",-22}agent's door");
        foreach (var region in facts.Regions)
            Line($"  {region.Code,-16}{region.Role.ToString().ToLowerInvariant(),-10}{region.Gateway,-28}{region.Database ?? "-",-22}{region.Agent ?? "-"}".TrimEnd());
        Line($"  Then {facts.Primary ?? "nobody"} was the primary of {facts.Database}{(facts.Epoch is { } epoch ? $", epoch {epoch}" : "")}. Ask before you trust it: br dr status");
        Line();
        Line("A REGION IS LOST, THE SERVER ANSWERS");
        foreach (var target in targets)
            Line($"  br dr failover --target {target.Code} --reason \"...\"");
        Line("  Refused for want of a proof, and you know that the old one is off: --assume-fenced \"how you know\"");
        Line("  Refused because of the loss, and it is acceptable: --accept-data-loss");
        Line();
        Line("THE SERVER IS GONE TOO: on any host that reaches the regions and holds the key");
        foreach (var target in targets)
            Line($"  br dr failover --without-server --target {target.Code} --key FILE --agent {target.Agent}");
        Line("  It shows what it knows, asks for the region's name, and keeps its journal in a folder: note which.");
        Line("  Cut off half way: the same command again. Name more doors with --agent, one each.");
        Line("  When the server is back, on the host of that folder: br server adopt FOLDER");
        Line();
        Line("THE KEY");
        Line($"  {facts.Rules.KeyKept ?? "(recovery.key_kept of the policy says where a copy of it lies)"}");
        Line("  It is the file `replication` in the folder of each agent's --secrets. Never write it on this page.");
        Line();
        Line("FINGERPRINTS");
        Line($"  key {facts.KeyFingerprint ?? "unknown"} · policy {Short(facts.PolicyHash)} · runbook failover {Short(facts.RunbookHash)} · br {facts.Version}");
        return text.ToString();
    }

    private static string Short(string hash) => hash.Length > HashShown ? hash[..HashShown] : hash;
}
