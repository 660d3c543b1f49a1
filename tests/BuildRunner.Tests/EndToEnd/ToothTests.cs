using System.Diagnostics;
using BuildRunner.Dev;
using BuildRunner.Server.Guard;
using BuildRunner.Tests.Checking;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>
/// FAILOVER.md 11's teeth on real processes: what keeps two primaries apart is taken out from outside, one part at a time, and the checker must say so; with the
/// part left in, the same fault must break nothing. They reach into what belongs to PostgreSQL's user, which needs root.
/// </summary>
[Collection(EndToEndGroup.Name)]
public sealed class ToothTests(ITestOutputHelper output)
{
    private const int Acknowledged = 50;

    /// <summary>What the checker says of an old primary that goes on; counters that were answered twice may be ordinary loss, which is not read back here.</summary>
    private const string SentAfter = "sent after a write of epoch";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120);
    private static readonly DevRegion East = DevRegion.Find("us-east-1");
    private static readonly DevRegion West = DevRegion.Find("us-west-1");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>The guard's clock stands at the machine's start (a time namespace), so that its deadline does not come: it ends nothing, and its gate holds nothing back.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Guard(bool takenOut)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        var programs = takenOut ? LateGuard() : null;
        try
        {
            await using var sandbox = await AutoFailoverTests.StartAsync(program: programs is null ? null : Path.Combine(programs, "brapp"));
            Assert.Equal(takenOut, TimeOf(GuardOf(sandbox)) != TimeOf(Environment.ProcessId));
            await JudgeAsync(sandbox, takenOut, SentAfter, async () => (await sandbox.BrAsync("dev", "partition", East.Code)).Fine());
        }
        finally
        {
            if (programs is not null)
                Directory.Delete(programs, recursive: true);
        }
    }

    /// <summary>Agent and guard are frozen: only the gate, for which commits wait, is left.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Gate(bool takenOut)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        await using var sandbox = await AutoFailoverTests.StartAsync();
        await JudgeAsync(sandbox, takenOut, SentAfter, async () =>
        {
            (await sandbox.BrAsync("dev", "freeze", East.Code, "--part", "agent", "--part", "guard")).Fine();
            if (takenOut)
                WaitForNobody(sandbox);
            await Eventually.TrueAsync(async () => await FailOverAsync(sandbox) == 0 || await PrimaryAsync(sandbox) == West.Code, "a person, or the house, fails over", Cancel, Limit);
        });
    }

    /// <summary>Nothing proves the old primary silent; a person says that it is off, and it is not. Without his word there is no failover.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WaitForTheProof(bool takenOut)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        await using var sandbox = await ReplicationTests.StartAsync("auto_failover: false", "power_driver: none");
        await JudgeAsync(sandbox, takenOut, SentAfter, async () =>
        {
            (await sandbox.BrAsync("dev", "partition", East.Code)).Fine();
            if (takenOut)
            {
                await Eventually.TrueAsync(async () => await FailOverAsync(sandbox, "--assume-fenced", "I unplugged it") == 0, "his word is taken", Cancel, Limit);
                return;
            }
            await Eventually.TrueAsync(async () => await FailOverAsync(sandbox) == 4, "it is refused", Cancel, Limit);
            (await sandbox.BrAsync("dev", "heal", East.Code)).Fine();
            await Eventually.TrueAsync(async () => (await sandbox.BrAsync("dr", "switchover", "--target", West.Code, "--reason", "test")).Code == 0, "once it is heard again, the primary is moved", Cancel, Limit);
        });
    }

    /// <summary>The old primary is started as it was by somebody who takes no order's epoch into account, past agent and guard.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task RefusalOfOldEpochs(bool takenOut)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        await using var sandbox = await AutoFailoverTests.StartAsync();
        int? old = null;
        try
        {
            await JudgeAsync(sandbox, takenOut, SentAfter, async () =>
            {
                (await sandbox.BrAsync("dev", "kill", East.Code)).Fine();
                await MovedAsync(sandbox);
                if (takenOut)
                    old = await StartByHandAsync(sandbox);
                else
                    (await sandbox.BrAsync("dev", "heal", East.Code)).Fine();
            });
        }
        finally
        {
            if (old is { } pid)
                Signal(pid, "QUIT");
        }
    }

    /// <summary>Commits no longer wait for a copy while the record says that one holds them.</summary>
    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task OrderOfTheSynchronousRecord(bool takenOut)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        await using var sandbox = await ReplicationTests.StartAsync("auto_failover: true\n  lease_ttl: 10s", null, "--sync");
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
    private async Task JudgeAsync(Sandbox sandbox, bool takenOut, string violation, Func<Task> breakIt)
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
        // Only ids tell here what is missing: counters that were answered twice may be what the loss of a primary costs, which nobody reads back in this test.
        var ids = operations.Select(o => o with { Number = null }).ToList();
        var end = new FinalState { Held = await HeldAsync(sandbox, password), Salvaged = [], Primaries = [West.Code], Checksums = new Dictionary<string, string>() };
        var found = HistoryChecker.Judge(ids, end, lossAllowed: violation != "NoLostAck").Where(v => v.Contains(violation, StringComparison.Ordinal)).ToList();
        output.WriteLine($"{operations.Count(o => o.Outcome == OrderOutcomeKind.Ok)} acknowledged at epochs {string.Join(" ", operations.Select(o => o.Epoch).OfType<long>().Distinct().Order())}; {(found.Count == 0 ? "nothing found" : found[0])}");
        Assert.Equal(takenOut, found.Count > 0);
    }

    private static async Task<string?> PrimaryAsync(Sandbox sandbox) => await sandbox.BrAsync("dr", "status", "--output", "json") is { Code: 0 } said ? FailoverTests.Primary(said.Json) : null;

    private static Task MovedAsync(Sandbox sandbox) => Eventually.TrueAsync(async () => await PrimaryAsync(sandbox) == West.Code, $"{West.Code} is the primary", Cancel, Limit);

    private static async Task<int> FailOverAsync(Sandbox sandbox, params string[] more) =>
        (await sandbox.BrAsync(["dr", "failover", "--target", West.Code, "--accept-data-loss", "--reason", "test", .. more])).Code;

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

    private static string DataOf(Sandbox sandbox) => DevLock.Folders(sandbox.Layout, [sandbox.Layout.FolderOf(East)])
        .SelectMany(f => Directory.EnumerateFiles(f, "PG_VERSION", new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 3, IgnoreInaccessible = true }))
        .Select(f => GuardNative.RealPath(Path.GetDirectoryName(f)!)).First(d => Path.GetFileName(d) == "data"); // not by a link in a folder that PostgreSQL's user cannot enter

    private static int PostmasterOf(Sandbox sandbox) => int.Parse(File.ReadLines(Path.Combine(DataOf(sandbox), "postmaster.pid")).First(), CultureInfo.InvariantCulture);

    private static int GuardOf(Sandbox sandbox) => int.Parse(File.ReadAllText($"/proc/{PostmasterOf(sandbox)}/stat").Split(") ")[^1].Split(' ')[1], CultureInfo.InvariantCulture);

    private static string TimeOf(int process) => new FileInfo($"/proc/{process}/ns/time").LinkTarget!;

    private static void WaitForNobody(Sandbox sandbox)
    {
        File.WriteAllText(Path.Combine(DataOf(sandbox), "sync.conf"), "");
        Signal(PostmasterOf(sandbox), "HUP");
    }

    /// <summary>Answers the process; it has no parent that it would end with, as one that a person starts.</summary>
    private static async Task<int> StartByHandAsync(Sandbox sandbox)
    {
        var data = DataOf(sandbox);
        var permit = File.ReadLines(Path.Combine(data, "postgresql.conf")).First(l => l.StartsWith("include '", StringComparison.Ordinal)).Split('\'')[1];
        Directory.CreateDirectory(Path.GetDirectoryName(permit)!);
        File.WriteAllText(permit, "");
        File.WriteAllText(Path.Combine(data, "sync.conf"), "");
        File.Delete(Path.Combine(data, "postmaster.pid"));
        Process.Start("chmod", ["-R", "a+rX", Path.GetDirectoryName(Path.GetDirectoryName(permit)!)!]).WaitForExit();
        Process.Start("setpriv", ["--reuid=postgres", "--regid=postgres", "--init-groups", Path.Combine(PostgresServer.Binaries, "postgres"), "-D", data, "-c", "unix_socket_directories="]).Dispose();
        await Eventually.TrueAsync(() => File.Exists(Path.Combine(data, "postmaster.pid")) && File.ReadLines(Path.Combine(data, "postmaster.pid")).LastOrDefault()?.Trim() == "ready", "the old primary is up", Cancel, Limit);
        return PostmasterOf(sandbox);
    }

    /// <summary>The built programs once more, but for the one that an agent starts its guard by: that one steps into a time namespace first.</summary>
    private static string LateGuard()
    {
        var folder = Directory.CreateTempSubdirectory("br-tooth-").FullName;
        var uptime = (int)(GuardNative.BootMilliseconds() / 1000);
        Assert.SkipWhen(uptime < 300, "the machine has run for too short a time: its clock cannot be put back far enough");
        Process.Start("cp", ["-rL", $"{new FileInfo(Sandbox.Program).DirectoryName}/.", folder]).WaitForExit();
        File.Move(Path.Combine(folder, "br"), Path.Combine(folder, "brapp"));
        var launcher = Path.Combine(folder, "br");
        File.WriteAllText(launcher, $"#!/bin/sh\n[ \"$1\" = guard ] && exec unshare --time --boottime -{uptime - 5} \"${{0}}app\" \"$@\"\nexec \"${{0}}app\" \"$@\"\n");
        File.SetUnixFileMode(launcher, (UnixFileMode)0b111_101_101);
        File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101);
        return folder;
    }

    private static void Signal(int pid, string signal) => Process.Start("kill", [$"-{signal}", $"{pid}"]).WaitForExit();
}
