using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Routing;

/// <summary>
/// Builds the table from what is so, numbers it when it differs from the last, keeps it in the store and gives it to every gateway.
/// One pass at a time, whoever asks for it.
/// </summary>
internal sealed partial class RoutingDesk(
    RoutingRecords records, IPolicySource policy, IRegionHealth health, IProbePlan probes, INodeReports reports, INodeLinks links,
    LeaderLease lead, TimeProvider time, ILogger<RoutingDesk> logger) : IDisposable
{
    /// <summary>By then every node that lives has called again after a start of the server.</summary>
    public static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(5);
    private const int AttemptsMax = 4;
    private readonly SemaphoreSlim _one = new(1, 1);
    private readonly long _started = time.GetTimestamp();
    private RoutingView? _view;
    private long _given;
    private string? _summon;

    /// <summary>The table in force; null until the first pass.</summary>
    public RoutingView? View => Volatile.Read(ref _view);

    /// <summary>How long this server has been listening to its nodes.</summary>
    public TimeSpan Age => time.GetElapsedTime(_started);

    public void Dispose() => _one.Dispose();

    /// <summary>Publishes when something has changed; the version in force, or 0 while another server leads and nothing is known.</summary>
    public async Task<long> PublishAsync(CancellationToken cancel)
    {
        await _one.WaitAsync(cancel);
        try
        {
            for (var attempt = 0; attempt < AttemptsMax; attempt++)
            {
                if (await TryAsync(cancel) is { } version)
                    return version;
            }
            throw new InvalidOperationException($"The published table changed {AttemptsMax} times while it was being replaced: another server writes it too.");
        }
        finally { _one.Release(); }
    }

    private async Task<long?> TryAsync(CancellationToken cancel)
    {
        var (last, entryVersion) = await records.PublishedAsync(cancel);
        if (lead.Acting is not { } fence)
        {
            if (last is not null)
                Volatile.Write(ref _view, new RoutingView(last.Document.Table));
            return last?.Document.Table.Version ?? 0;
        }
        var before = last?.Document.Table;
        var keys = await records.AffinityKeysAsync(time.GetUtcNow(), fence, cancel);
        var inputs = RoutingReader.Read(policy.Current, health, reports, await records.EpochsAsync(cancel), await records.HoldsAsync(cancel), settled: Age >= SettleTime);
        var table = RoutingTableBuilder.Build(inputs, before);
        var document = new GatewayDocument { Table = table with { Version = before?.Version ?? 0, At = before?.At ?? default }, Probes = probes.Current };
        var summon = policy.Current.Regions.Select(r => reports.LastAgent(r.Code)?.Report.GatewayKey).FirstOrDefault(k => k is not null) ?? _summon;
        _summon = summon;
        var keysHash = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', keys))));
        // Unknown until an agent has reported, which makes no new table: gateways keep the one they have.
        var summonHash = summon is null ? last?.SummonHash : Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(summon)));
        // A gateway that has taken tables of another server, or of this one before its store was lost, takes none that is numbered lower.
        var seen = policy.Current.Regions.Select(r => reports.Gateway(r.Code)?.TableVersion ?? 0).DefaultIfEmpty().Max();
        var number = Math.Max(before?.Version ?? 0, seen);
        var same = last is not null && number == last.Document.Table.Version && last.KeysHash == keysHash && last.SummonHash == summonHash && Bytes(document).AsSpan().SequenceEqual(Bytes(last.Document));
        if (!same)
        {
            document = document with { Table = table with { Version = number + 1, At = time.GetUtcNow() } };
            switch (await records.WriteAsync(new PublishedTable(document, keysHash) { SummonHash = summonHash }, entryVersion, fence, cancel))
            {
                case StoreWrite.Conflict:
                    return null;
                case StoreWrite.Fenced:
                    return before?.Version ?? 0;
            }
            LogPublished(logger, document.Table.Version);
        }
        Give(document with { AffinityKeys = keys, SummonKey = summon });
        return document.Table.Version;
    }

    private void Give(GatewayDocument document)
    {
        var version = document.Table.Version;
        if (version == _given && View is not null)
            return;
        Volatile.Write(ref _view, new RoutingView(document.Table));
        var json = JsonSerializer.SerializeToElement(document, WireJson.Default.GatewayDocument);
        foreach (var region in document.Table.Regions)
            links.Publish(new NodeName(NodeKind.Gateway, region.Code), version, json);
        _given = version;
    }

    private static byte[] Bytes(GatewayDocument document) => JsonSerializer.SerializeToUtf8Bytes(document, WireJson.Default.GatewayDocument);

    [LoggerMessage(Level = LogLevel.Information, Message = "Routing table {Version} is published.")]
    private static partial void LogPublished(ILogger logger, long version);
}
