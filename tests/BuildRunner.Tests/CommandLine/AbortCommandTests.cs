using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Routing;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Tests.CommandLine;

/// <summary>`br runbook abort` against a real server whose run waits for an agent that does not answer.</summary>
public class AbortCommandTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 60_000)]
    public async Task Abort_RunThatWaits_IsTakenBackAndExitsFine_AndASecondIsRefused()
    {
        await using var server = await TestServer.StartAsync();
        using var end = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var reporting = Task.Run(() => ReportAsync(server.Services.GetRequiredService<NodeReports>(), end.Token), Cancel);
        var epochs = server.Services.GetRequiredService<Epochs>();
        await epochs.CreateAsync(EpochTransitions.First("main", "us-east-1", ["us-east-1", "us-west-1"], DateTimeOffset.UtcNow), null, Cancel);
        var runs = new RunbooksClient(server.Connect());
        RunRecord? run = null;
        await Eventually.TrueAsync(async () =>
        {
            try { run = (await runs.StartAsync(new RunRequest { Runbook = "failover", Reason = "test", Inputs = new Dictionary<string, string> { ["target"] = "us-west-1", ["accept_data_loss"] = "true" } }, Cancel)).Run; } // no gateway listens: as soon as the server has looked, the target is unhealthy
            catch (Client.ApiException) { } // nobody has reported yet
            return run is not null;
        }, "the run begins", Cancel);
        await Eventually.TrueAsync(async () => (await runs.RunAsync(run!.Id, Cancel)).Run.Steps.Single(s => s.Id == "hold").Status == StepStatus.Done, "the fence is waited for", Cancel);

        var (code, said, error) = await BrAsync(server, "runbook", "abort", run!.Id, "--reason", "false alarm", "--output", "json");
        Assert.True(code == 0, $"exit {code}\n{said}\n{error}");
        using (var json = JsonDocument.Parse(said))
            Assert.Equal("aborted", json.RootElement.GetProperty("run").GetProperty("state").GetString());
        Assert.Contains("abort asked for by", error, StringComparison.Ordinal);
        var record = await epochs.GetAsync("main", Cancel);
        Assert.Equal((1, EpochState.Open, "us-east-1"), (record!.Epoch, record.State, record.Primary));

        var (again, _, why) = await BrAsync(server, "runbook", "abort", run.Id);
        Assert.Equal(4, again);
        Assert.Contains(run.Id, why, StringComparison.Ordinal);
        var (unknown, _, _) = await BrAsync(server, "runbook", "abort", "no-such-run");
        Assert.Equal(2, unknown);
        await end.CancelAsync();
        await reporting;
    }

    /// <summary>Agents that report, and take no orders; a gateway that has every table.</summary>
    private static async Task ReportAsync(NodeReports reports, CancellationToken end)
    {
        using var beat = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        try
        {
            while (await beat.WaitForNextTickAsync(end))
            {
                foreach (var (region, state) in new[] { ("us-east-1", DatabaseState.Primary), ("us-west-1", DatabaseState.Standby) })
                {
                    reports.Take(region, new AgentReport
                    {
                        Incarnation = "a", At = DateTimeOffset.UtcNow, Host = "h",
                        Database = new DatabaseReading
                        {
                            Database = "main", State = state, AcceptsConnections = true, Guarded = true, MarkerEpoch = 1, Written = new Lsn(1000), Received = new Lsn(1000), Replayed = new Lsn(1000),
                        },
                    });
                    reports.Take(region, new GatewayReport { Incarnation = "g", At = DateTimeOffset.UtcNow, TableVersion = long.MaxValue, Endpoint = $"http://{region}" });
                }
            }
        }
        catch (OperationCanceledException) { } // the test is done
    }

    private static async Task<(int Code, string Out, string Error)> BrAsync(TestServer server, params string[] arguments)
    {
        var start = new ProcessStartInfo(BrExecutable.Path, [.. arguments, "--server", server.Address.ToString(), "--token-file", Path.Combine(server.Folder, "token")]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var (said, error) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
        await process.WaitForExitAsync(Cancel);
        return (process.ExitCode, await said, await error);
    }
}
