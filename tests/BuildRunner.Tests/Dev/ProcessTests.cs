using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using BuildRunner.Dev;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Tests.Dev;

public sealed class ProcessTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 20_000)]
    public async Task Belonging_MarkedProcess_IsFoundWithWhatItStarted()
    {
        var mark = $"br-test-{Guid.NewGuid():N}/us-east-1";
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardInput = true, RedirectStandardOutput = true };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add("env -i sleep 60 & echo started; read line; kill $!; wait"); // the sleeper has lost the mark
        start.Environment[DevLayout.Mark] = mark;
        using var shell = Process.Start(start)!;
        await shell.StandardOutput.ReadLineAsync(Cancel);
        IReadOnlyList<ProcessRow> found = [];
        while (found.Count < 2 || found.All(p => p.Name != "sleep"))
            found = ProcessTable.Belonging(mark, []);

        Assert.Contains(found, p => p.Id == shell.Id);
        Assert.Empty(ProcessTable.Belonging(mark + "x", []));

        shell.StandardInput.Close();
        await shell.WaitForExitAsync(Cancel);
        Assert.Empty(ProcessTable.Belonging(mark, []));
    }

    [Fact(Timeout = 20_000)]
    public async Task Freeze_Process_StandsStillUntilThawed()
    {
        var start = new ProcessStartInfo("/bin/cat") { RedirectStandardInput = true, RedirectStandardOutput = true };
        using var echo = Process.Start(start)!;
        ProcessTable.Freeze(echo.Id);
        while (ProcessTable.Read(echo.Id)?.State != 'T')
            await Task.Yield();
        await echo.StandardInput.WriteLineAsync("heard");
        echo.StandardInput.Close();
        Assert.False(echo.HasExited);

        ProcessTable.Thaw(echo.Id);
        Assert.Equal("heard", await echo.StandardOutput.ReadLineAsync(Cancel));
        await echo.WaitForExitAsync(Cancel);
    }

    [Fact]
    public void Owner_ListeningSocket_IsThisProcess()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var at = (IPEndPoint)listener.LocalEndpoint;

        var holder = ListeningPorts.Holder(ListeningPorts.Read(), at.Address, at.Port);

        Assert.NotNull(holder);
        Assert.Contains(Environment.ProcessId.ToString(System.Globalization.CultureInfo.InvariantCulture), ListeningPorts.Owner(holder.Value), StringComparison.Ordinal);
    }

    [Fact]
    public void FreeOffset_PortTaken_SaysByWhomAndFindsAnother()
    {
        using var taken = new TcpListener(IPAddress.Parse("127.0.2.1"), 0);
        taken.Start();
        var offset = ((IPEndPoint)taken.LocalEndpoint).Port - 8080;
        if (offset <= 0)
            return; // an ephemeral port below the gateways': nothing to show on such a machine

        var error = Assert.Throws<BuildRunner.Cli.CliException>(() => DevLock.FreeOffset("/nowhere", offset));

        Assert.Contains("the gateway of us-west-1", error.Message, StringComparison.Ordinal);
        Assert.Contains("--port-offset auto", error.Message, StringComparison.Ordinal);
        Assert.NotEqual(offset, DevLock.FreeOffset("/nowhere", null));
    }

    [Fact(Timeout = 20_000)]
    public async Task Child_EndsByItself_IsStartedAgainUntilUnwanted()
    {
        var folder = Directory.CreateTempSubdirectory("br-child-").FullName;
        var plan = new ChildPlan
        {
            Name = "short", Region = null, Folder = folder, Log = Path.Combine(folder, "log"),
            Arguments = ["-c", "echo started $ONCE; read line"], Environment = new Dictionary<string, string>(),
        };
        using var child = new Child(plan, "/bin/sh");
        child.Start(new Dictionary<string, string> { ["ONCE"] = "once" });
        var first = child.ProcessId!.Value;
        await UntilAsync(() => File.Exists(plan.Log) && File.ReadAllText(plan.Log).Contains("once", StringComparison.Ordinal));

        ProcessTable.Kill(first);
        await UntilAsync(() => child.ProcessId is { } next && next != first);
        await UntilAsync(() => File.ReadAllLines(plan.Log) is ["started once", "started"]);

        child.LetGo();
        Assert.True(await child.EndedAsync(TimeSpan.FromSeconds(5)));
        Assert.Null(child.ProcessId);
        Directory.Delete(folder, recursive: true);
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        while (!condition())
            await Task.Delay(TimeSpan.FromMilliseconds(10), Cancel);
    }
}
