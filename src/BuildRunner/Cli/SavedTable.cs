using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Regions;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;

namespace BuildRunner.Cli;

/// <summary>The newest routing table that a gateway of this machine kept: what is known while the server is away.</summary>
internal sealed record SavedTable(RoutingTable Table, string Path, DateTimeOffset WrittenAt)
{
    /// <summary>Looks for `table.json` below the folder of `endpoints.json`, two folders deep; null: there is none that can be read.</summary>
    public static SavedTable? Find(string? folder)
    {
        if (folder is null || !Directory.Exists(folder))
            return null;
        var options = new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 2, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint };
        foreach (var file in new DirectoryInfo(folder).EnumerateFiles("table.json", options).OrderByDescending(f => f.LastWriteTimeUtc))
        {
            if (Read(file.FullName) is { } table)
                return new SavedTable(table, file.FullName, new DateTimeOffset(file.LastWriteTimeUtc));
        }
        return null;
    }

    /// <summary>The status as far as the table tells it: states as they were when it was made, and nothing of runs and switches.</summary>
    public StatusAnswer Status(DateTimeOffset now)
    {
        var regions = Table.Regions
            .Select(r => new StatusRegion(r.Code, CurrentRole.Of(r.Role, r.Code, Table.Databases is [var database, ..] ? database.Primary : null), r.Health, null, "", r.HasDatabase))
            .ToList();
        var verdict = StatusVerdict.Decide(new StatusFacts { Regions = regions, MultiRegion = Table.MultiRegion, DefaultRegion = Table.DefaultRegion }, now);
        var moving = Table.Databases.Where(d => d.HoldId is not null || d.State != EpochState.Open).Select(d => $"Writes to {d.Name} were on hold: a run was moving it to another region.");
        return new StatusAnswer
        {
            At = now,
            Source = "table",
            Health = verdict.Health,
            Sentence = verdict.Sentence,
            Problems = [.. verdict.Problems.Select(p => new StatusProblemItem(p.Region, p.Health, p.What, p.Since, p.Next))],
            Notes = [.. verdict.Notes, .. moving],
            Next = "br dev status",
            MultiRegion = Table.MultiRegion,
            Regions = [.. Table.Regions.Select(r => Item(r, regions.First(s => s.Code == r.Code).Role))],
        };
    }

    private RegionItem Item(RegionRow row, RegionRole role) => new()
    {
        Code = row.Code,
        Name = row.Name,
        Role = role,
        PolicyRole = row.Role,
        Endpoint = row.Endpoint,
        Active = row.Health == HealthState.Healthy,
        Health = row.Health,
        Since = Table.At,
        Draining = row.Draining,
        Weight = row.Weight,
        Coordinates = new(row.Location.Latitude, row.Location.Longitude),
    };

    private static RoutingTable? Read(string path)
    {
        try { return JsonSerializer.Deserialize(File.ReadAllBytes(path), WireJson.Default.GatewayDocument)?.Table; }
        catch (Exception error) when (error is JsonException or IOException or UnauthorizedAccessException) { return null; } // half a file is no table: take an older one
    }
}
