using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Hosting;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Gateway;

/// <summary>The gateway's end of its line to the server: takes documents, carries out probes, reports.</summary>
internal sealed partial class GatewayWork(
    GatewayOptions options, GatewayTable table, HoldGate holds, WriteLedger writes, ReadLedger reads, TrafficCounts traffic, TargetWatch targets,
    Prober prober, ProbeOrders probes, GatewaySignals signals, TimeProvider time, ILogger<GatewayWork> logger) : INodeWork
{
    public long DocumentVersion => table.State?.View.Table.Version ?? 0;

    public Task ApplyAsync(long version, JsonElement document, CancellationToken cancel)
    {
        var read = document.Deserialize(WireJson.Default.GatewayDocument) ?? throw new JsonException("The document is empty.");
        table.Apply(read with { Table = read.Table with { Version = version } });
        prober.Update(read.Probes);
        LogTable(logger, version);
        signals.ReportSoon();
        return Task.CompletedTask;
    }

    public async Task<OrderResult> CarryOutAsync(Order order, CancellationToken cancel)
    {
        if (order.Kind != GatewayOrders.Probe)
            return new OrderResult { Id = order.Id, Done = false, Refused = true, Error = $"A gateway knows no order {order.Kind}." };
        var probe = order.Arguments.Deserialize(WireJson.Default.ProbeOrder) ?? throw new JsonException("The order has no arguments.");
        var result = await probes.SendAsync(probe, order.Epoch, cancel);
        return new OrderResult { Id = order.Id, Done = true, Data = JsonSerializer.SerializeToElement(result, WireJson.Default.ProbeResult) };
    }

    public byte[]? Report(string incarnation)
    {
        targets.Refresh();
        // The table first, the counts after it: a write that is not counted now can only go out under this table or a newer one.
        var view = table.State?.View;
        var report = new GatewayReport
        {
            Incarnation = incarnation,
            At = time.GetUtcNow(),
            TableVersion = view?.Table.Version ?? 0,
            Endpoint = $"http://{options.Listen}",
            Targets = targets.Readings,
            Holds = view is null ? [] : [.. view.Table.Databases.Where(d => d.HoldId is not null).Select(Hold)],
            Writes = writes.Read(),
            Traffic = traffic.Read(),
        };
        return JsonSerializer.SerializeToUtf8Bytes(report, WireJson.Default.GatewayReport);

        HoldReading Hold(Core.Routing.DatabaseRow row) => new(
            row.Name, row.HoldId!, holds.Waiting(row.Name), writes.InFlight(row.Name),
            Expired: table.HoldLeft(row.Name, row.HoldId!) is not { } left || left <= TimeSpan.Zero, reads.InFlight(row.Name, row.Primary));
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Routing table {Version} is in force.")]
    private static partial void LogTable(ILogger logger, long version);
}

/// <summary>A hint from the request path that the server waits for news.</summary>
internal sealed class GatewaySignals
{
    /// <summary>Set once the line to the server is there.</summary>
    public Action ReportSoon { get; set; } = static () => { };
}
