using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Dev;
using BuildRunner.Tests.Checking;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>
/// FAILOVER.md 11 with real processes: random faults against a sandbox that fails over by itself, clients through every gateway and straight to every
/// PostgreSQL, and the checker over all that they were told. BR_SCHEDULE_SEED runs one seed, BR_SCHEDULE_COUNT so many from it on.
/// </summary>
[Collection(EndToEndGroup.Name)]
public sealed class ScheduleTests(ITestOutputHelper output)
{
    private const int SandboxEvery = 10;
    private const string SeedVariable = "BR_SCHEDULE_SEED";
    private const string CountVariable = "BR_SCHEDULE_COUNT";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120);

    /// <summary>After so long a person takes up what a run called for one.</summary>
    private static readonly TimeSpan PersonAfter = TimeSpan.FromSeconds(30);

    private static readonly IReadOnlyList<DevRegion> Databases = [.. DevRegion.All.Where(r => r.HasDatabase)];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 1_200_000)]
    public Task RandomFaults_EveryInvariantHolds() => RunAsync(From(1), Count(10));

    [Fact(Timeout = 20_000_000), Trait("Category", "long")]
    public Task RandomFaults_AHundredSeeds() => RunAsync(From(1000), Count(100));

    private static int From(int first) => int.TryParse(Environment.GetEnvironmentVariable(SeedVariable), out var seed) ? seed : first;

    private static int Count(int ordinary) => int.TryParse(Environment.GetEnvironmentVariable(CountVariable), out var count) ? count
        : Environment.GetEnvironmentVariable(SeedVariable) is null ? ordinary : 1;

    private async Task RunAsync(int first, int count)
    {
        Sandbox? sandbox = null;
        try
        {
            for (var seed = first; seed < first + count; seed++)
            {
                if (sandbox is null || (seed - first) % SandboxEvery == 0)
                {
                    if (sandbox is not null)
                        await sandbox.DisposeAsync();
                    sandbox = await AutoFailoverTests.StartAsync();
                }
                var begun = Stopwatch.GetTimestamp();
                var violations = await OneAsync(sandbox, seed);
                output.WriteLine($"seed {seed}: {Stopwatch.GetElapsedTime(begun).TotalSeconds:0} s");
                Assert.True(violations.Count == 0, $"seed {seed}: {string.Join('\n', violations)}\n{string.Join('\n', Schedule.Of(seed))}\n{SeedVariable}={seed} runs it again");
            }
        }
        finally
        {
            if (sandbox is not null)
                await sandbox.DisposeAsync();
        }
    }

    private async Task<IReadOnlyList<string>> OneAsync(Sandbox sandbox, int seed)
    {
        var password = (await File.ReadAllTextAsync(Path.Combine(sandbox.Layout.Secrets, "app"), Cancel)).Trim();
        await DirectClient.MakeTablesAsync(sandbox.Layout, DevRegion.Find(await PrimaryAsync(sandbox) ?? "us-east-1"), password, Cancel);
        var writers = DevRegion.All.Select(r => OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway(r.Code)), Interval = TimeSpan.FromMilliseconds(100), InFlightMax = 200, Timeout = TimeSpan.FromSeconds(15) })).ToList();
        var direct = Databases.Select(r => new DirectClient(sandbox.Layout, r, password)).ToList();
        try
        {
            foreach (var writer in writers)
                await writer.AcknowledgedAsync(10, Cancel, Limit);
            var primary = await PrimaryAsync(sandbox) ?? "us-east-1";
            await Task.WhenAll(Schedule.Of(seed).Select(fault => BreakAsync(sandbox, fault, primary, ByFilter(seed))));
            await HealAllAsync(sandbox);
            var stuck = await ConvergeAsync(sandbox);
            if (stuck is null)
                await writers[1].AcknowledgedAsync(10, Cancel, Limit); // somebody takes writes

            var operations = new List<Operation>();
            foreach (var (writer, region) in writers.Zip(DevRegion.All))
            {
                var report = await writer.StopAsync();
                operations.AddRange(report.Records.Select(r => new Operation($"gateway/{region.Code}", r.Id, r.Invoked, r.Completed, r.Outcome) { Epoch = r.Epoch }));
            }
            foreach (var client in direct)
                operations.AddRange(await client.StopAsync());
            output.WriteLine($"seed {seed}: {operations.Count(o => o.Outcome == OrderOutcomeKind.Ok)} ok, {operations.Count(o => o.Outcome == OrderOutcomeKind.Fail)} fail, "
                + $"{operations.Count(o => o.Outcome == OrderOutcomeKind.Unknown)} unknown, epochs {string.Join(" ", operations.Where(o => o.Epoch is not null).Select(o => o.Epoch).Distinct().Order())}; {string.Join("; ", Schedule.Of(seed))}{(ByFilter(seed) ? "; silence by nftables" : "")}");
            return stuck is not null ? [$"Converges: {stuck}"] : HistoryChecker.Judge(operations, await EndAsync(sandbox, password));
        }
        finally
        {
            foreach (var writer in writers)
                await writer.DisposeAsync();
            foreach (var client in direct)
                await client.DisposeAsync();
        }
    }

    /// <summary>Every other seed has the kernel drop packets, where it may; the others have the relays keep silent.</summary>
    private static bool ByFilter(int seed) => seed % 2 == 0 && PacketFilter.WhyNot() is null;

    private static async Task BreakAsync(Sandbox sandbox, ScheduledFault fault, string primary, bool filter)
    {
        await Task.Delay(fault.After, Cancel);
        var region = Schedule.RegionOf(fault, primary);
        await AskAsync(sandbox, $"{fault.Path.Replace("{region}", region, StringComparison.Ordinal)}{(filter && fault.IsSilence ? "&filter=true" : "")}");
        await Task.Delay(fault.For, Cancel);
        await AskAsync(sandbox, fault.OfServer ? "/v1/server/heal" : $"/v1/regions/{region}/heal");
    }

    /// <summary>Parts that do not run now cannot be frozen: then there is nothing to break.</summary>
    private static async Task AskAsync(Sandbox sandbox, string path)
    {
        try { await SupervisorClient.PostAsync(sandbox.Layout, path, Cancel); }
        catch (Client.ApiException) { }
    }

    private static async Task HealAllAsync(Sandbox sandbox)
    {
        await AskAsync(sandbox, "/v1/server/heal");
        foreach (var region in DevRegion.All)
            await AskAsync(sandbox, $"/v1/regions/{region.Code}/heal");
    }

    /// <summary>One primary, open, under an enforced lease, and every copy streams from it; else what is not so.</summary>
    private static async Task<string?> ConvergeAsync(Sandbox sandbox)
    {
        var begun = Stopwatch.GetTimestamp();
        var (asked, why) = (false, "nothing was heard");
        while (Stopwatch.GetElapsedTime(begun) < Limit)
        {
            var said = await sandbox.BrAsync("dr", "status", "--output", "json");
            if (said.Out.Length > 0 && said.Json.GetProperty("databases")[0] is var database)
            {
                why = NotYet(database);
                if (why is null)
                    return null;
                if (!asked && Stopwatch.GetElapsedTime(begun) > PersonAfter && database.GetProperty("state").GetString() != "open")
                {
                    asked = true;
                    await sandbox.BrAsync("dr", "failover", "--target", database.GetProperty("primary").GetString()!, "--accept-data-loss", "--reason", "a run called for a person");
                }
            }
            await Task.Delay(250, Cancel);
        }
        return why;
    }

    private static string? NotYet(JsonElement database)
    {
        if (database.GetProperty("state").GetString() != "open")
            return $"epoch {database.GetProperty("epoch")} is {database.GetProperty("state")}";
        var primary = database.GetProperty("primary").GetString();
        if (database.GetProperty("lease") is not { ValueKind: JsonValueKind.Object } lease || !lease.GetProperty("enforced").GetBoolean())
            return $"the lease of {primary} is not enforced";
        foreach (var region in database.GetProperty("regions").EnumerateArray())
        {
            var (code, state) = (region.GetProperty("code").GetString(), region.GetProperty("state").GetString());
            if (code == primary ? state != "primary" : state != "standby" || region.GetProperty("streaming").ValueKind != JsonValueKind.True || region.GetProperty("following").GetString() != primary)
                return $"{code} is {state}: {region}";
        }
        return null;
    }

    private static async Task<string?> PrimaryAsync(Sandbox sandbox) => FailoverTests.Primary((await sandbox.BrAsync("dr", "status", "--output", "json")).Json);

    private static async Task<FinalState> EndAsync(Sandbox sandbox, string password)
    {
        var primaries = new List<string>();
        var left = new List<string>();
        Dictionary<Guid, int> held = [];
        foreach (var region in Databases)
        {
            await using var connection = await OpenAsync(sandbox, region, password);
            if (await ScalarAsync<bool>(connection, "select pg_is_in_recovery()"))
                continue;
            primaries.Add(region.Code);
            if (await ScalarAsync<string>(connection, "select current_setting('synchronous_standby_names')") is var names && names.Contains("sealed", StringComparison.Ordinal))
                left.Add($"{region.Code} is sealed ({names})");
            if (await ScalarAsync<string>(connection, "select coalesce(string_agg(slot_name, ', '), '') from pg_replication_slots where not active") is { Length: > 0 } slots)
                left.Add($"{region.Code} keeps the slots {slots}, which nobody uses");
            await using var command = new NpgsqlCommand("select id from orders union all select id from direct", connection);
            await using var rows = await command.ExecuteReaderAsync(Cancel);
            while (await rows.ReadAsync(Cancel))
                held[rows.GetGuid(0)] = held.GetValueOrDefault(rows.GetGuid(0)) + 1;
        }
        Dictionary<string, string> sums = [];
        await Eventually.TrueAsync(async () =>
        {
            sums = [];
            foreach (var region in Databases)
                sums[region.Code] = await ChecksumAsync(sandbox, region, password);
            return sums.Values.Distinct().Count() == 1;
        }, "the copies' tables are equal", Cancel, Limit);
        var open = (await sandbox.BrAsync("runbook", "status", "--output", "json")).Json.GetProperty("runs").EnumerateArray()
            .Where(r => !r.TryGetProperty("finished_at", out var at) || at.ValueKind == JsonValueKind.Null).Select(r => $"run {r.GetProperty("id")} is {r.GetProperty("state")}");
        return new FinalState { Held = held, Salvaged = await SalvagesAsync(sandbox), Primaries = primaries, Checksums = sums, Left = [.. left, .. open] };
    }

    private static async Task<string> ChecksumAsync(Sandbox sandbox, DevRegion region, string password)
    {
        await using var connection = await OpenAsync(sandbox, region, password);
        var sums = new List<string>();
        foreach (var table in (string[])["orders", "packing_queue", "products", "direct", "counter", "buildrunner.epoch"])
            sums.Add(await ScalarAsync<string>(connection, $"select coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text from {table} t"));
        return string.Join(' ', sums);
    }

    private static async Task<NpgsqlConnection> OpenAsync(Sandbox sandbox, DevRegion region, string password)
    {
        var connection = new NpgsqlConnection(DirectClient.Connection(sandbox.Layout, region, password));
        await connection.OpenAsync(Cancel);
        return connection;
    }

    private static async Task<T> ScalarAsync<T>(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        return (T)(await command.ExecuteScalarAsync(Cancel))!;
    }

    /// <summary>Read off the regions' disks, not asked for; the transactions from the salvaged WAL itself.</summary>
    private static async Task<IReadOnlyList<Salvage>> SalvagesAsync(Sandbox sandbox)
    {
        var found = new List<Salvage>();
        foreach (var region in Databases)
        {
            foreach (var (_, said) in SalvagedWal.Found(sandbox, region))
            {
                var counted = said.TryGetProperty("commits", out var commits) && commits.ValueKind == JsonValueKind.Number;
                var epoch = said.GetProperty("epoch").GetInt64();
                found.Add(new Salvage(epoch, region.Code, counted ? commits.GetInt64() : null, counted ? await SalvagedWal.CommitsAsync(sandbox, region, epoch, Cancel) : new HashSet<uint>())
                {
                    Named = counted ? said.GetProperty("transactions").EnumerateArray().Select(t => t.GetUInt32()).ToHashSet() : null,
                });
            }
        }
        return found;
    }
}
