using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Guard;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.Agent;

/// <summary>The guard as a process: its deadline, its lifeline, its end, and the fence where it is gone.</summary>
public sealed class GuardTests : AgentPair
{
    [Fact(Timeout = TestMax)]
    public async Task Deadline_Reached_EndsPostgresAndDoesNotFence()
    {
        await BeginAsync(standby: false);
        Assert.True(await AskAsync(new GuardRequest { Do = "deadline", DeadlineMs = GuardNative.BootMilliseconds() + 60_000 }) is { Ok: true });
        // It only grows: an earlier one changes nothing.
        var shorter = await AskAsync(new GuardRequest { Do = "deadline", DeadlineMs = GuardNative.BootMilliseconds() });
        Assert.True(shorter.DeadlineMs > GuardNative.BootMilliseconds() + 30_000);
        Assert.NotEmpty(East.Processes());
        await KillRegionAsync(East);

        await East.BecomesPrimaryAsync(1);
        var folder = East.Home.PermitFolder();
        await AskAsync(new GuardRequest { Do = "deadline", DeadlineMs = GuardNative.BootMilliseconds() + 300 });
        await Eventually.TrueAsync(() => East.Processes().Count == 0, "PostgreSQL ends at the deadline", Cancel);
        await Eventually.TrueAsync(() => !Directory.Exists(folder), "the guard takes its folder away", Cancel);
        Assert.False(File.Exists(East.Home.FenceFile));
    }

    [Fact(Timeout = TestMax)]
    public async Task Lifeline_HolderKilled_EndsPostgresWithALastCheckpoint()
    {
        var path = Path.Combine(Folder, "lifeline");
        using var holder = Process.Start(new ProcessStartInfo("python3", ["-c", "import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen(8)\nheld=[]\nwhile True: held.append(s.accept())", path]))!;
        await Eventually.TrueAsync(() => File.Exists(path), "the lifeline is held", Cancel);
        await using var host = new AgentHost(Folder, "eu-west-1", path);
        host.Assign(host.Duty(1, host, initialise: true));
        await host.BecomesPrimaryAsync(1);
        var folder = host.Home.PermitFolder();
        holder.Kill();
        await Eventually.TrueAsync(() => host.Processes().Count == 0, "nothing outlives the holder", Cancel, TimeSpan.FromSeconds(5));
        await Eventually.TrueAsync(() => !Directory.Exists(folder), "the guard takes its folder away", Cancel, TimeSpan.FromSeconds(5));
        var log = await File.ReadAllTextAsync(host.Home.Log, Cancel);
        Assert.Contains("received fast shutdown request", log);
        Assert.DoesNotContain("received immediate shutdown request", log);
    }

    /// <summary>A session that ignores the fast stop (frozen) would hold it for seconds: a fence does not wait for that.</summary>
    [Fact(Timeout = TestMax)]
    public async Task Fence_DuringAFastStopThatHangs_CutsItShort()
    {
        await BeginAsync(standby: false);
        var status = (await East.Guard.StatusAsync(Cancel))!;
        Signal(status.Postmaster, 19); // frozen: it hears no fast stop
        var stop = East.Guard.StopAsync(TimeSpan.FromSeconds(25), Cancel);
        await Eventually.TrueAsync(() => !File.Exists(Path.Combine(East.Home.PermitFolder(), "permit.conf")), "the fast stop has begun", Cancel);

        Assert.True((await East.FenceAsync(1)).Effect); // its answer is waited for 8 s
        Assert.Empty(East.Processes());
        await stop;
    }

    /// <summary>What was killed has taken nothing away itself, and a folder that a copy replaces has no next start that would.</summary>
    [Fact(Timeout = TestMax)]
    public async Task Fence_LeavesNoSharedMemory_OfThisPostgresOnly()
    {
        Assert.SkipUnless(Environment.UserName == "root", "the segment is PostgreSQL's user's");
        await BeginAsync(standby: true);
        // A query with a worker under way: its memory is one of those that the first file lists.
        await using var connection = await East.OpenAsync();
        await using (var parallel = new NpgsqlCommand("select set_config(name, 'on', false) from pg_settings where name in ('force_parallel_mode', 'debug_parallel_query')", connection))
            await parallel.ExecuteNonQueryAsync(Cancel);
        await using var sleep = new NpgsqlCommand("select pg_sleep(600)", connection);
        var sleeping = sleep.ExecuteNonQueryAsync(CancellationToken.None);
        await Eventually.TrueAsync(async () => (await MemoryAsync(East)).Files.Count > 1, "the worker has memory", Cancel);
        var (east, west) = (await MemoryAsync(East), await MemoryAsync(West));
        Assert.All((string[])[.. east.Files, .. west.Files], file => Assert.True(File.Exists(file), file));
        Assert.True(IsSegment(east.Segment) && IsSegment(west.Segment));

        await East.FenceAsync(1);
        await Eventually.TrueAsync(() => !IsSegment(east.Segment), "the segment is taken away", Cancel);
        Assert.DoesNotContain(east.Files, File.Exists);
        Assert.All(west.Files, file => Assert.True(File.Exists(file), file));
        Assert.True(IsSegment(west.Segment));
        await Assert.ThrowsAnyAsync<NpgsqlException>(() => sleeping);
    }

    private static async Task<(int Segment, IReadOnlyList<string> Files)> MemoryAsync(AgentHost host)
    {
        var lines = await File.ReadAllLinesAsync(Path.Combine(host.Home.Data, "postmaster.pid"), Cancel);
        var maps = host.Processes().SelectMany(MapsOf);
        return (int.Parse(lines[6].Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture),
            [.. maps.Select(line => line[(line.LastIndexOf(' ') + 1)..]).Where(file => file.StartsWith("/dev/shm/PostgreSQL.", StringComparison.Ordinal)).Distinct()]);
    }

    private static string[] MapsOf(int process)
    {
        try { return File.ReadAllLines($"/proc/{process}/maps"); }
        catch (IOException) { return []; } // it has just ended
    }

    private static bool IsSegment(int id) => File.ReadLines("/proc/sysvipc/shm").Any(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1] == id.ToString(CultureInfo.InvariantCulture));

    /// <summary>The guard is killed and its PostgreSQL frozen before the signal of its death: the agent fences by `br guard --fence`.</summary>
    [Fact(Timeout = TestMax)]
    public async Task GuardGone_AgentFencesAlone()
    {
        await BeginAsync(standby: false);
        var status = (await East.Guard.StatusAsync(Cancel))!;
        Signal(status.Postmaster, 19);
        Signal(status.Guard, 9);
        Assert.Contains(status.Postmaster, East.Processes());

        var fenced = await East.FenceAsync(1);
        Assert.True(fenced.Effect);
        Assert.Empty(East.Processes());
        Assert.Equal(1, JsonSerializer.Deserialize(File.ReadAllBytes(East.Home.FenceFile), GuardJson.Default.FenceFile)!.Epoch);
        Assert.False((await East.FenceAsync(1)).Effect);
    }

    [Fact(Timeout = TestMax)]
    public async Task OrderlyStop_LeavesNothingInMemory()
    {
        await BeginAsync(standby: false);
        var folder = East.Home.PermitFolder();
        Assert.True(File.Exists(Path.Combine(folder, "permit.conf")));
        await East.Guard.StopAsync(TimeSpan.FromSeconds(2), Cancel);
        await East.Guard.GoneAsync(Cancel);
        Assert.False(Directory.Exists(folder));
        Assert.False(Directory.Exists(Path.GetDirectoryName(folder)));

        await East.BecomesPrimaryAsync(1);
        Assert.True((await East.FenceAsync(1)).Effect);
        await Eventually.TrueAsync(() => !Directory.Exists(folder), "a fence leaves nothing either", Cancel);
        Assert.Empty(East.Left()); // the guard stays until the kernel has taken apart what it killed: the next start would find the shared memory in use
        Assert.False((await East.FenceAsync(1)).Effect); // and can be given where the folder is gone
    }

    /// <summary>A fence's proof does not wait until the kernel has taken a process apart; it must not miss one that can still run code either.</summary>
    [Fact(Timeout = TestMax)]
    public async Task Dying_FromTheKillOn_AndNotBefore()
    {
        var folder = Directory.CreateDirectory(Path.Combine(Folder, "data")).FullName;
        var processes = new DataProcesses(folder);
        for (var round = 0; round < 20; round++)
        {
            // With memory to give back, so that its end takes the kernel a while; every other one is frozen, as a stalled server's are.
            using var child = Process.Start(new ProcessStartInfo("python3", ["-c", "b = bytearray(64 << 20)\nprint('ready', flush=True)\nwhile True: pass"]) { WorkingDirectory = folder, RedirectStandardOutput = true })!;
            try
            {
                Assert.Equal("ready", await child.StandardOutput.ReadLineAsync(Cancel));
                if (round % 2 == 0)
                    Signal(child.Id, 19);
                Assert.Equal([child.Id], processes.Running());
                Assert.False(DataProcesses.IsDying(child.Id));
                Signal(child.Id, 9);
                Assert.True(DataProcesses.IsDying(child.Id));
            }
            finally { child.Kill(); }
            await child.WaitForExitAsync(Cancel);
            Assert.Empty(processes.Running());
        }
    }

    /// <summary>As in many containers: root without the capability sees no process of PostgreSQL's user, and must not take that for silence.</summary>
    [Fact(Timeout = TestMax)]
    public async Task Fence_WhoMayNotLook_ProvesNothing()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root");
        var folder = Directory.CreateTempSubdirectory("br-blind-").FullName;
        Process.Start("sh", ["-c", $"mkdir {folder}/data && echo 15 > {folder}/data/PG_VERSION && chown -R postgres {folder}"]).WaitForExit();
        using var session = Process.Start(new ProcessStartInfo("setpriv", ["--reuid=postgres", "--regid=postgres", "--init-groups", "sleep", "600"]) { WorkingDirectory = $"{folder}/data" })!;
        try
        {
            await Eventually.TrueAsync(() => DataProcesses.Sees(session.Id) && File.ReadAllText($"/proc/{session.Id}/comm") == "sleep\n", "a session is there", Cancel);
            async Task<GuardAnswer> FenceAsync(params string[] before)
            {
                string[] command = [.. before, East.Options.Executable, "guard", "--fence", "1", "--run", "r", "--data", $"{folder}/data", "--permit-dir", $"{folder}/permit"];
                using var guard = Process.Start(new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true })!;
                return JsonSerializer.Deserialize((await guard.StandardOutput.ReadLineAsync(Cancel))!, GuardJson.Default.GuardAnswer)!;
            }
            var blind = await FenceAsync("setpriv", "--bounding-set=-sys_ptrace", "--");
            Assert.False(blind.Ok);
            Assert.Contains("CAP_SYS_PTRACE", blind.Error, StringComparison.Ordinal);
            Assert.False(File.Exists($"{folder}/fence.json") || session.HasExited);
            Assert.Equal((true, 1), (await FenceAsync() is var seen && seen.Ok, seen.Killed));
            await session.WaitForExitAsync(Cancel);
        }
        finally
        {
            session.Kill();
            Directory.Delete(folder, recursive: true);
        }
    }

    private async Task<GuardAnswer> AskAsync(GuardRequest request)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(Path.Combine(East.Home.PermitFolder(), "guard.sock")), Cancel);
        await using var stream = new NetworkStream(socket);
        using var reader = new StreamReader(stream);
        await stream.WriteAsync(JsonSerializer.SerializeToUtf8Bytes(request, GuardJson.Default.GuardRequest), Cancel);
        await stream.WriteAsync("\n"u8.ToArray(), Cancel);
        return JsonSerializer.Deserialize((await reader.ReadLineAsync(Cancel))!, GuardJson.Default.GuardAnswer)!;
    }
}
