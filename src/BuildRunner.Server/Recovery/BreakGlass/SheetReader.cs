using System.Security.Cryptography;
using System.Text;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Recovery;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.BreakGlass;

/// <summary>Makes the page to keep on paper from what is in force; changes nothing.</summary>
internal sealed class SheetReader(IPolicySource policy, Epochs epochs, INodeReports reports, RunbookCatalog catalog, TimeProvider time)
{
    public async Task<RecoverySheet> ReadAsync(string? server, CancellationToken cancel)
    {
        var document = policy.Current;
        var database = RegionReader.DatabaseOf(document);
        var record = await epochs.GetAsync(database, cancel);
        var key = document.Regions.Select(r => reports.LastAgent(r.Code)?.Report.GatewayKey).FirstOrDefault(k => k is not null);
        var facts = new SheetFacts
        {
            At = time.GetUtcNow(),
            Version = VersionAnswer.Running,
            Server = string.IsNullOrWhiteSpace(server) ? "unknown" : server.Length > 200 || server.Any(char.IsControl) ? "unknown" : server,
            Database = database,
            Primary = record?.Primary,
            Epoch = record?.Epoch,
            Rules = document.Recovery,
            Name = document.Dns.Name,
            Regions = [.. document.Regions.Select(Region)],
            KeyFingerprint = key is null ? null : PeerKey.Fingerprint(Convert.FromBase64String(key)),
            PolicyHash = policy.Hash,
            RunbookHash = catalog.Find(FailoverRunbook.Name) is { } entry ? RunbookCheck.Hash(entry.Runbook) : "unknown",
        };
        var text = SheetText.Write(facts);
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
        return new RecoverySheet { At = facts.At, Text = $"{text}  sheet {hash[..16]}\n", Hash = hash, KeyFingerprint = facts.KeyFingerprint, PolicyHash = facts.PolicyHash, RunbookHash = facts.RunbookHash };
    }

    private SheetRegion Region(RegionDefinition region) => new(
        region.Code, region.Role, region.Endpoint,
        region.DatabaseHost is { } host ? string.Create(CultureInfo.InvariantCulture, $"{host}:{region.DatabasePort}") : null,
        region.DatabaseHost is null ? null
            : reports.LastAgent(region.Code) is { Report: { PeerPort: > 0 } report } ? string.Create(CultureInfo.InvariantCulture, $"{report.Host}:{report.PeerPort}")
            : string.Create(CultureInfo.InvariantCulture, $"{region.DatabaseHost}:{region.DatabasePort + 1}"));
}
