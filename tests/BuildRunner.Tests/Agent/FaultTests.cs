using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Hosting;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Agent;

/// <summary>Faults of a drill on a real host: real PostgreSQL, real signals, a real volume that is full. Each ends by word, by its limit, and when its holder dies.</summary>
public sealed class FaultTests : IAsyncLifetime
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);
    private readonly string _folder = AgentHost.NewFolder();
    private AgentHost _agent;
    private bool _mounted;

    public FaultTests() => _agent = new AgentHost(_folder, "east");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _agent.DisposeAsync();
        if (_mounted)
            await DoAsync("umount", "-l", _folder);
        Directory.Delete(_folder, recursive: true);
        File.Delete(Image);
    }

    [Fact(Timeout = 120_000)]
    public async Task Freeze_Database_NothingAnswers_AndItsEndLeavesNothingStopped()
    {
        await StartAsync();
        var done = await InjectAsync(new(FaultKind.Freeze, "drill-1", 60, FaultPart.Database));
        Assert.Contains("frozen", done.Evidence, StringComparison.Ordinal);
        await StoppedAsync(true, "all of it is stopped");
        Assert.Equal("freeze (database) by drill-1", _agent.State.Fault?.ToString());
        Assert.False((await InjectAsync(new(FaultKind.Freeze, "drill-1", 60, FaultPart.Database))).Effect);
        Assert.True((await OrderAsync(FaultOrders.Inject, new(FaultKind.Freeze, "drill-2", 60))).Refused);

        Assert.False((await LiftAsync("drill-2")).Effect);
        Assert.True((await LiftAsync("drill-1")).Effect);
        await StoppedAsync(false, "none of it is stopped");
        Assert.Equal(1, await _agent.ScalarAsync<int>("select 1"));
        Assert.Null(_agent.State.Fault);
        Assert.True((await OrderAsync(FaultOrders.Inject, new(FaultKind.Freeze, "drill-1", 60))).Refused);
    }

    [Theory(Timeout = 120_000)]
    [InlineData("the limit")]
    [InlineData("the holder is killed")]
    [InlineData("the agent ends")]
    public async Task Freeze_NobodyLiftsIt_EndsAllTheSame(string how)
    {
        await StartAsync();
        await InjectAsync(new(FaultKind.Freeze, "drill-1", how == "the limit" ? 2 : 600, FaultPart.Database));
        await StoppedAsync(true, "all of it is stopped");
        if (how == "the holder is killed")
            HostProcesses.Kill(Assert.Single(Holders()));
        else if (how == "the agent ends")
            await RestartAsync();
        await StoppedAsync(false, "none of it is stopped");
        await Eventually.TrueAsync(() => Holders().Count == 0, "no holder is left", Cancel, Limit);
        if (how != "the agent ends")
            await Eventually.TrueAsync(() => _agent.State.Fault is null, "the agent knows of no fault", Cancel, Limit);
    }

    [Fact(Timeout = 120_000)]
    public async Task Freeze_AgentStartsAgainOverProcessesLeftStopped_ThawsThem()
    {
        await StartAsync();
        await InjectAsync(new(FaultKind.Freeze, "drill-1", 600, FaultPart.Database));
        await StoppedAsync(true, "all of it is stopped");
        await RestartAsync();
        await StoppedAsync(false, "the holder has mended it");
        // As after a loss of power in the wrong moment: the note is on the disk, the holder is gone, and the processes stand still.
        foreach (var process in _agent.Processes())
            HostProcesses.Freeze(process);
        Assert.NotNull(_agent.State.Fault);
        await _agent.BeginFaultsAsync();
        await StoppedAsync(false, "the agent has thawed them");
        Assert.Null(_agent.State.Fault);
    }

    [Fact(Timeout = 120_000)]
    public async Task Slow_Postgres_StillAnswers_AndIsSeenStoppedNowAndThen()
    {
        await StartAsync();
        await InjectAsync(new(FaultKind.Slow, "drill-1", 60));
        await Eventually.TrueAsync(() => _agent.Processes().Any(IsStopped), "it is stopped now and then", Cancel, Limit);
        Assert.Equal(1, await _agent.ScalarAsync<int>("select 1"));
        Assert.True((await LiftAsync("drill-1")).Effect);
        await StoppedAsync(false, "none of it is stopped");
        Assert.Empty(Holders());
    }

    [Fact(Timeout = 120_000)]
    public async Task FillDisk_OnTheMachinesRootVolume_IsRefused()
    {
        Assert.SkipUnless(Volumes.MountOf(_folder) == "/", "the temporary folder has a volume of its own here");
        await StartAsync();
        var result = await OrderAsync(FaultOrders.Inject, new(FaultKind.FillDisk, "drill-1", 60));
        Assert.True(result.Refused);
        Assert.Contains("a volume of its own", result.Error, StringComparison.Ordinal);
        Assert.Null(_agent.State.Fault);
    }

    [Fact(Timeout = 120_000)]
    public async Task FillDisk_OnAVolumeOfItsOwn_TakesAllRoom_AndGivesItBackWhenItsHolderIsKilled()
    {
        Assert.SkipUnless(Environment.UserName == "root", "only root may mount a volume");
        await RemountAsync("-o", "loop", await ImageAsync());
        await StartAsync();
        using (var other = Process.Start(new ProcessStartInfo("tail", ["-f", "/dev/null"]) { WorkingDirectory = _folder })!)
        {
            try
            {
                var refused = await OrderAsync(FaultOrders.Inject, new(FaultKind.FillDisk, "drill-0", 60));
                Assert.True(refused.Refused);
                Assert.Contains($"tail (process {other.Id})", refused.Error, StringComparison.Ordinal);
            }
            finally { HostProcesses.Kill(other.Id); }
            await other.WaitForExitAsync(Cancel);
        }
        var free = new DriveInfo(_folder).AvailableFreeSpace;
        await InjectAsync(new(FaultKind.FillDisk, "drill-1", 60));
        Assert.Equal(0, new DriveInfo(_folder).AvailableFreeSpace);
        await Assert.ThrowsAnyAsync<Npgsql.NpgsqlException>(() => _agent.ExecuteAsync("create table big as select repeat('x', 1000) from generate_series(1, 100000)"));
        HostProcesses.Kill(Assert.Single(Holders()));
        await Eventually.TrueAsync(() => new DriveInfo(_folder).AvailableFreeSpace > free / 2, "the room is back", Cancel, Limit);
        Assert.Empty(Directory.GetFiles(_folder, ".ballast*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 }));
        await Eventually.TrueAsync(() => _agent.State.Fault is null, "the agent knows of no fault", Cancel, Limit);
    }

    [Fact(Timeout = 120_000)]
    public async Task FillDisk_OnAVolumeInMemory_IsRefused()
    {
        Assert.SkipUnless(Environment.UserName == "root", "only root may mount a volume");
        await RemountAsync("-t", "tmpfs", "-o", "size=256m,mode=0755", "tmpfs");
        await StartAsync();
        var result = await OrderAsync(FaultOrders.Inject, new(FaultKind.FillDisk, "drill-1", 60));
        Assert.True(result.Refused);
        Assert.Contains("lies in memory (tmpfs)", result.Error, StringComparison.Ordinal);
    }

    /// <summary>An agent on a volume of its own.</summary>
    private async Task RemountAsync(params string[] arguments)
    {
        var code = await DoAsync("mount", [.. arguments, _folder]);
        Assert.SkipUnless(code == 0, $"mount {string.Join(' ', arguments)} fails here ({code})");
        _mounted = true;
        File.SetUnixFileMode(_folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        await _agent.DisposeAsync();
        _agent = new AgentHost(_folder, "east");
    }

    private string Image => _folder.TrimEnd('/') + ".image";

    /// <summary>A file with an empty file system in it.</summary>
    private async Task<string> ImageAsync()
    {
        using (var file = File.Create(Image))
            file.SetLength(300L << 20);
        Assert.Equal(0, await DoAsync("mkfs.ext4", "-q", "-F", "-m", "0", Image));
        return Image;
    }

    /// <summary>Two hosts with a cable between them: the packets of one are dropped, and come through again at the limit though nobody lifts it.</summary>
    [Fact(Timeout = 120_000)]
    public async Task Partition_ByFilters_DropsInSilence_AndTheKernelEndsItAtTheLimit()
    {
        Assert.SkipUnless(Environment.UserName == "root", "only root may filter packets");
        var script = $$"""
            set -e
            here=br{{Environment.ProcessId}}a there=br{{Environment.ProcessId}}b
            trap 'ip netns del $here; ip netns del $there' EXIT
            ip netns add $here; ip netns add $there
            ip -n $here link add veth0 type veth peer name veth0 netns $there
            ip -n $here addr add 10.99.0.1/24 dev veth0; ip -n $there addr add 10.99.0.2/24 dev veth0
            for each in $here $there; do ip -n $each link set lo up; ip -n $each link set veth0 up; done
            # A closed port answers at once with a refusal (1), a cut says nothing (124).
            reach() { code=0; ip netns exec $there timeout 1 bash -c '</dev/tcp/10.99.0.1/9' 2>/dev/null || code=$?; echo "$1 $code"; }
            until [ "$(reach x)" = "x 1" ]; do :; done
            reach before
            unset BR_SUPERVISOR
            coproc holder { exec ip netns exec $here {{Path.Combine(AppContext.BaseDirectory, "br")}} fault-holder partition east drill-1 3000 each late "" ""; }
            # The rule, not the table: while the kernel takes a tried cut back it shows the table, empty, for an instant.
            until ip netns exec $here nft list ruleset | grep -q '@cut drop'; do :; done
            reach cut
            kill -KILL $holder_PID
            until [ "$(reach x)" = "x 1" ]; do :; done
            reach after
            """;
        var start = new ProcessStartInfo("bash", ["-c", script]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var (said, wrong) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
        try { await process.WaitForExitAsync(Cancel).WaitAsync(TimeSpan.FromSeconds(60), Cancel); }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
        Assert.True((await said).Split('\n', StringSplitOptions.RemoveEmptyEntries) is ["before 1", "cut 124", "after 1"], $"{await said}\n{await wrong}");
    }

    [Theory]
    [InlineData("/var/lib/pg/data", "/var/lib/pg")]
    [InlineData("/var/lib/pg", "/var/lib/pg")]
    [InlineData("/var/lib/pgx", "/")]
    [InlineData("/mnt/a b/c", "/mnt/a b")]
    public void MountOf_TheNearestAbove(string folder, string mount) =>
        Assert.Equal(mount, Volumes.MountOf(folder, ["1 0 8:1 / / rw - ext4 x rw", "2 1 8:2 / /var/lib/pg rw - ext4 x rw", "3 1 8:3 / /mnt/a\\040b rw - ext4 x rw"]));

    private async Task RestartAsync()
    {
        await _agent.RestartAsync();
        await _agent.Home.PrepareAsync(Cancel);
    }

    private async Task StartAsync()
    {
        _agent.Assign(_agent.Duty(1, _agent, initialise: true));
        await _agent.BecomesPrimaryAsync(1);
    }

    private async Task<FaultResult> InjectAsync(FaultOrder order)
    {
        var result = await OrderAsync(FaultOrders.Inject, order);
        Assert.True(result.Done, result.Error);
        return result.Data!.Value.Deserialize(WireJson.Default.FaultResult)!;
    }

    private async Task<FaultResult> LiftAsync(string run)
    {
        var result = await OrderAsync(FaultOrders.Lift, new(FaultKind.Kill, run, 60));
        Assert.True(result.Done, result.Error);
        return result.Data!.Value.Deserialize(WireJson.Default.FaultResult)!;
    }

    private Task<OrderResult> OrderAsync(string kind, FaultOrder order) => _agent.OrderAsync(kind, 0, order, WireJson.Default.FaultOrder);

    private Task StoppedAsync(bool all, string what) => Eventually.TrueAsync(() => _agent.Processes() is { Count: > 0 } processes && (all ? processes.All(IsStopped) : !processes.Any(IsStopped)), what, Cancel, Limit);

    private static bool IsStopped(int process) => HostProcesses.Read(process) is { State: 'T' };

    private static IReadOnlyList<int> Holders() => [.. HostProcesses.Tree([Environment.ProcessId]).Where(p => Command(p.Id).Contains($"\0{FaultHolder.Role}\0", StringComparison.Ordinal)).Select(p => p.Id)];

    private static string Command(int process)
    {
        try { return File.ReadAllText($"/proc/{process}/cmdline"); }
        catch (IOException) { return ""; }
    }

    private static async Task<int> DoAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments))!;
        await process.WaitForExitAsync(CancellationToken.None);
        return process.ExitCode;
    }
}
