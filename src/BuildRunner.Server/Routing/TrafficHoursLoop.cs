using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Routing;

/// <summary>Counts users' requests hour by hour, so that a quiet hour can be told from measured traffic; kept in the store under `traffic/hours`.</summary>
internal sealed class TrafficHoursLoop(IStore store, IPolicySource policy, INodeReports reports, Lead lead, TimeProvider time, ILogger<TrafficHoursLoop> logger)
    : ReconcileLoop(TimeSpan.FromMinutes(1), time, logger)
{
    public const string Key = "traffic/hours";
    private readonly TimeProvider _time = time;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (lead() is not { } fence)
            return;
        var marks = policy.Current.Regions.Select(r => (r.Code, Report: reports.Gateway(r.Code))).Where(r => r.Report is not null)
            .ToDictionary(r => r.Code, r => new TrafficMark(r.Report!.Incarnation, r.Report.Traffic.Requests));
        var before = await ReadAsync(cancel);
        var after = TrafficHours.Count(before, marks, _time.GetUtcNow());
        if (after != before)
            await store.PutAsync(Key, JsonSerializer.SerializeToUtf8Bytes(after, TrafficHoursJson.Default.TrafficHours), null, fence, cancel);
    }

    public async Task<TrafficHours> ReadAsync(CancellationToken cancel) =>
        await store.GetAsync(Key, cancel) is { } entry ? JsonSerializer.Deserialize(entry.Value.Span, TrafficHoursJson.Default.TrafficHours) ?? new() : new();
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(TrafficHours))]
internal sealed partial class TrafficHoursJson : JsonSerializerContext;
