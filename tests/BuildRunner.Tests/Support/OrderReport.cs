using System.Diagnostics;
using System.Text.Json.Nodes;
using Npgsql;

namespace BuildRunner.Tests.Support;

/// <summary>What a writer saw, and what may be concluded from it.</summary>
public sealed record OrderReport(IReadOnlyList<OrderRecord> Records, int Skipped)
{
    public IReadOnlyList<OrderRecord> Acknowledged { get; } = [.. Records.Where(record => record.Outcome == OrderOutcomeKind.Ok).OrderBy(record => record.Completed)];

    public IReadOnlyList<Guid> AcknowledgedIds => [.. Acknowledged.Select(record => record.Id)];

    public int Failed => Records.Count(record => record.Outcome == OrderOutcomeKind.Fail);
    public int Unknown => Records.Count(record => record.Outcome == OrderOutcomeKind.Unknown);

    /// <summary>The longest time without an acknowledged write: from the last one before it to the first one after; null with fewer than two.</summary>
    public TimeSpan? Outage => Acknowledged.Count < 2
        ? null
        : Stopwatch.GetElapsedTime(0, Acknowledged.Zip(Acknowledged.Skip(1), (before, after) => after.Completed - before.Completed).Max());

    /// <summary>How long the slowest write took to be answered, well or not; null: there was none.</summary>
    public TimeSpan? Longest => Records.Count == 0 ? null : Stopwatch.GetElapsedTime(0, Records.Max(record => record.Completed - record.Invoked));

    /// <summary>From a moment (`Stopwatch` ticks) to the first write that was acknowledged after it and sent to a higher epoch than before it; null: none.</summary>
    public TimeSpan? FirstOfANewEpochAfter(long moment)
    {
        var former = Acknowledged.Where(record => record.Completed <= moment).Max(record => record.Epoch);
        var first = Acknowledged.FirstOrDefault(record => record.Completed > moment && record.Epoch > former);
        return first is null ? null : Stopwatch.GetElapsedTime(moment, first.Completed);
    }

    /// <summary>When the first write of an epoch was acknowledged (`Stopwatch` ticks); null: none was.</summary>
    public long? FirstAtEpoch(long epoch) => Acknowledged.FirstOrDefault(record => record.Epoch == epoch)?.Completed;

    /// <summary>OneAcknowledger: acknowledged writes of an epoch that were sent after one of a higher epoch had been acknowledged. Must be empty.</summary>
    public IReadOnlyList<OrderRecord> LateAcknowledgements()
    {
        var firstOf = Acknowledged.Where(record => record.Epoch is not null).GroupBy(record => record.Epoch!.Value).ToDictionary(group => group.Key, group => group.Min(record => record.Completed));
        return [.. Acknowledged.Where(record => firstOf.Any(epoch => epoch.Key > record.Epoch && epoch.Value < record.Invoked))];
    }

    /// <summary>Compares with what a PostgreSQL holds.</summary>
    public async Task<OrderCheck> CheckAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        var ids = new List<Guid>();
        await using var command = new NpgsqlCommand("SELECT id FROM orders", connection);
        await using var reader = await command.ExecuteReaderAsync(cancel);
        while (await reader.ReadAsync(cancel))
            ids.Add(reader.GetGuid(0));
        return Check(ids);
    }

    /// <summary>Compares with what Shop's API lists, page by page; only once orders rest.</summary>
    public async Task<OrderCheck> CheckAsync(HttpClient http, CancellationToken cancel)
    {
        var ids = new List<Guid>();
        for (long? since = 0; since is not null;)
        {
            var page = JsonNode.Parse(await http.GetStringAsync($"/api/orders?since={since}", cancel))!;
            ids.AddRange(page["orders"]!.AsArray().Select(line => line!["id"]!.GetValue<Guid>()));
            since = page["next"]?.GetValue<long>();
        }

        return Check(ids);
    }

    public OrderCheck Check(IReadOnlyCollection<Guid> held)
    {
        var times = held.GroupBy(id => id).ToDictionary(group => group.Key, group => group.Count());
        return new OrderCheck(
            [.. Acknowledged.Where(record => !times.ContainsKey(record.Id)).Select(record => record.Id)],
            [.. Records.Where(record => times.GetValueOrDefault(record.Id) > 1).Select(record => record.Id)],
            [.. Records.Where(record => record.Outcome == OrderOutcomeKind.Fail && times.ContainsKey(record.Id)).Select(record => record.Id)]);
    }

    public override string ToString() => $"{Acknowledged.Count} acknowledged, {Failed} failed, {Unknown} unknown, {Skipped} skipped, outage {Outage?.TotalMilliseconds:0} ms";
}

/// <summary>Missing: acknowledged and not there. Doubled: there more than once. Executed: said to have failed, and there.</summary>
public sealed record OrderCheck(IReadOnlyList<Guid> Missing, IReadOnlyList<Guid> Doubled, IReadOnlyList<Guid> Executed);
