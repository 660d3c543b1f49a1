using System.Diagnostics;
using BuildRunner.Dev;
using BuildRunner.Tests.Checking;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>
/// FAILOVER.md 11's teeth on real processes: what keeps two primaries apart is taken out from outside, one part at a time, and the checker must say so; with the
/// part left in, the same fault must break nothing.
/// </summary>
[Collection(EndToEndGroup.Name)]
public sealed class ToothTests(ITestOutputHelper output)
{
    private const int Acknowledged = 50;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120);
    private static readonly DevRegion East = DevRegion.Find("us-east-1");
    private static readonly DevRegion West = DevRegion.Find("us-west-1");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>The guard's clock stands years back (a time namespace), so that its deadline never comes: it ends nothing, and its gate holds nothing back.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Guard(bool takenOut)
    {
        var programs = takenOut ? LateGuard() : null;
        await using var sandbox = await AutoFailoverTests.StartAsync(program: programs is null ? null : Path.Combine(programs, "brapp"));
        await JudgeAsync(sandbox, takenOut, "OneAcknowledger", async () => (await sandbox.BrAsync("dev", "partition", East.Code)).Fine());
        if (programs is not null)
            Directory.Delete(programs, recursive: true);
    }

    /// <summary>Agent and guard are frozen: only the gate, for which commits wait, is left.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Gate(bool takenOut)
    {
        await using var sandbox = await AutoFailoverTests.StartAsync();
        await JudgeAsync(sandbox, takenOut, "OneAcknowledger", async () =>
        {
            (await sandbox.BrAsync("dev", "freeze", East.Code, "--part", "agent", "--part", "guard")).Fine();
            if (takenOut)
                WaitForNobody(sandbox);
            await FailOverAsync(sandbox);
        });
    }

    /// <summary>A person says that the old primary is off, and it is not.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WaitForTheProof(bool takenOut)
    {
        await using var sandbox = await AutoFailoverTests.StartAsync(TimeSpan.FromSeconds(20));
        await JudgeAsync(sandbox, takenOut, "OneAcknowledger", async () =>
        {
            (await sandbox.BrAsync("dev", "partition", East.Code)).Fine();
            if (takenOut)
                await FailOverAsync(sandbox, "--assume-fenced", "I unplugged it");
        });
    }

    /// <summary>The old primary is started as it was by somebody who takes no order's epoch into account, past agent and guard.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task RefusalOfOldEpochs(bool takenOut)
    {
        await using var sandbox = await AutoFailoverTests.StartAsync();
        Process? old = null;
        try
        {
            await JudgeAsync(sandbox, takenOut, "OneAcknowledger", async () =>
            {
                (await sandbox.BrAsync("dev", "kill", East.Code)).Fine();
                await MovedAsync(sandbox);
                if (takenOut)
                    old = StartByHand(sandbox);
                else
                    (await sandbox.BrAsync("dev", "heal", East.Code)).Fine();
            });
        }
        finally
        {
            old?.Kill(entireProcessTree: true);
            old?.Dispose();
        }
    }

    /// <summary>Commits no longer wait for a copy while the record says that one holds them.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task OrderOfTheSynchronousRecord(bool takenOut)
    {
        await using var sandbox = await ReplicationTests.StartAsync("auto_failover: true\n  lease_ttl: 10s", "--sync");
        await ReplicationTests.HeldAsync(sandbox);
        await JudgeAsync(sandbox, takenOut, "NoLostAck", async () =>
        {
            (await sandbox.BrAsync("dev", "freeze", East.Code, "--part", "agent")).Fine();
            if (takenOut)
                WaitForNobody(sandbox);
            int[] receivers = [await ReplicationTests.ReceiverAsync(sandbox, West.Host), await ReplicationTests.ReceiverAsync(sandbox, DevRegion.Find("eu-west-1").Host)];
            foreach (var receiver in receivers)
                Signal(receiver, "STOP");
            await Task.Delay(TimeSpan.FromSeconds(2), Cancel); // how long the copies stand still: with the setting in force nothing is acknowledged meanwhile
            (await sandbox.BrAsync("dev", "kill", East.Code)).Fine();
            foreach (var receiver in receivers)
                Signal(receiver, "KILL");
        });
    }

    /// <summary>Breaks a sandbox that clients write to until us-west-1 takes their writes, and has the checker judge what they were told.</summary>
    private async Task JudgeAsync(Sandbox sandbox, bool takenOut, string invariant, Func<Task> breakIt)
    {
        var password = (await File.ReadAllTextAsync(Path.Combine(sandbox.Layout.Secrets, "app"), Cancel)).Trim();
        await DirectClient.MakeTablesAsync(sandbox.Layout, East, password, Cancel);
        await using var writer = OrderWriter.Start(new() { Gateway = new Uri(sandbox.Gateway(West.Code)), InFlightMax = 400, Timeout = TimeSpan.FromSeconds(15) });
        await using var east = new DirectClient(sandbox.Layout, East, password);
        await using var west = new DirectClient(sandbox.Layout, West, password);
        await writer.AcknowledgedAsync(Acknowledged, Cancel, Limit);

        await breakIt();
        await MovedAsync(sandbox);
        await writer.AcknowledgedAsync(3 * Acknowledged, Cancel, Limit); // long enough for the old primary to answer, if it can

        var report = await writer.StopAsync();
        IReadOnlyList<Operation> operations = [.. report.Records.Select(r => new Operation("gateway", r.Id, r.Invoked, r.Completed, r.Outcome) { Epoch = r.Epoch }), .. await east.StopAsync(), .. await west.StopAsync()];
        var end = new FinalState { Held = await HeldAsync(sandbox, password), Salvaged = [], Primaries = [West.Code], Checksums = new Dictionary<string, string>() };
        var found = HistoryChecker.Judge(operations, end, lossAllowed: invariant != "NoLostAck").Where(v => v.StartsWith(invariant, StringComparison.Ordinal)).ToList();
        output.WriteLine($"{operations.Count(o => o.Outcome == OrderOutcomeKind.Ok)} acknowledged at epochs {string.Join(" ", operations.Select(o => o.Epoch).OfType<long>().Distinct().Order())}; {(found.Count == 0 ? $"{invariant} holds" : found[0])}");
        Assert.Equal(takenOut, found.Count > 0);
    }

    private static Task MovedAsync(Sandbox sandbox) => Eventually.TrueAsync(
        async () => await sandbox.BrAsync("dr", "status", "--output", "json") is { Code: 0 } said && FailoverTests.Primary(said.Json) == West.Code, $"{West.Code} is the primary", Cancel, Limit);

    /// <summary>Refused while no proof is at hand; nothing has changed then.</summary>
    private static Task FailOverAsync(Sandbox sandbox, params string[] more) => Eventually.TrueAsync(
        async () => (await sandbox.BrAsync(["dr", "failover", "--target", West.Code, "--accept-data-loss", "--reason", "test", .. more])).Code == 0, "a person fails over", Cancel, Limit);

    private static async Task<Dictionary<Guid, int>> HeldAsync(Sandbox sandbox, string password)
    {
        await using var connection = new NpgsqlConnection(DirectClient.Connection(sandbox.Layout, West, password));
        await connection.OpenAsync(Cancel);
        await using var command = new NpgsqlCommand("select id from orders union all select id from direct", connection);
        await using var rows = await command.ExecuteReaderAsync(Cancel);
        Dictionary<Guid, int> held = [];
        while (await rows.ReadAsync(Cancel))
            held[rows.GetGuid(0)] = held.GetValueOrDefault(rows.GetGuid(0)) + 1;
        return held;
    }

    private static string DataOf(Sandbox sandbox) =>
        DevLock.Folders(sandbox.Layout, [sandbox.Layout.FolderOf(East)]).SelectMany(f => new[] { Path.Combine(f, "data"), Path.Combine(f, "postgres", "data") }).First(d => File.Exists(Path.Combine(d, "PG_VERSION")));

    private static void WaitForNobody(Sandbox sandbox)
    {
        var data = DataOf(sandbox);
        File.WriteAllText(Path.Combine(data, "sync.conf"), "");
        Signal(int.Parse(File.ReadLines(Path.Combine(data, "postmaster.pid")).First(), CultureInfo.InvariantCulture), "HUP");
    }

    private static Process StartByHand(Sandbox sandbox)
    {
        var data = DataOf(sandbox);
        var permit = File.ReadLines(Path.Combine(data, "postgresql.conf")).First(l => l.StartsWith("include '", StringComparison.Ordinal)).Split('\'')[1];
        Directory.CreateDirectory(Path.GetDirectoryName(permit)!);
        File.WriteAllText(permit, "");
        File.WriteAllText(Path.Combine(data, "sync.conf"), "");
        File.Delete(Path.Combine(data, "postmaster.pid"));
        Process.Start("chmod", ["-R", "a+rX", Path.GetDirectoryName(Path.GetDirectoryName(permit)!)!]).WaitForExit();
        // As root it is PostgreSQL's own user that starts it; its sockets go where that user may write.
        var command = new[] { Path.Combine(PostgresServer.Binaries, "postgres"), "-D", data, "-c", "unix_socket_directories=" };
        return Environment.UserName == "root"
            ? Process.Start("setpriv", ["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "QUIT", .. command])
            : Process.Start(command[0], command[1..]);
    }

    /// <summary>The built programs by links, but for the one that an agent starts its guard by: that one steps into a time namespace first.</summary>
    private static string LateGuard()
    {
        var folder = Directory.CreateTempSubdirectory("br-tooth-").FullName;
        var built = new FileInfo(Sandbox.Program).Directory!;
        foreach (var entry in built.ResolveLinkTarget(returnFinalTarget: true) is DirectoryInfo target ? target.EnumerateFileSystemInfos() : built.EnumerateFileSystemInfos())
            File.CreateSymbolicLink(Path.Combine(folder, entry.Name), entry.FullName);
        File.Copy(Sandbox.Program, Path.Combine(folder, "brapp"));
        var launcher = Path.Combine(folder, "br");
        File.Delete(launcher);
        File.WriteAllText(launcher, "#!/bin/sh\n[ \"$1\" = guard ] && exec unshare --time --boottime -1000000 \"${0}app\" \"$@\"\nexec \"${0}app\" \"$@\"\n");
        File.SetUnixFileMode(launcher, (UnixFileMode)0b111_101_101);
        File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101);
        return folder;
    }

    private static void Signal(int pid, string signal) => Process.Start("kill", [$"-{signal}", $"{pid}"]).WaitForExit();
}
