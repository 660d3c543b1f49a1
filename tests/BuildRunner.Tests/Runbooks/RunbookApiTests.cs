using System.Diagnostics;
using System.Net;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Runbooks;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Tests.Runbooks;

/// <summary>Runbooks of the user's folder over the public API and the command line, against a real server.</summary>
public class RunbookApiTests
{
    private const string Release = """
        name: release
        title: Release with two eyes and two hands
        reviewed: 2026-11-01
        steps:
          - {id: pause, title: Wait, action: wait, with: {for: 10ms}}
          - {id: agree, title: May it, approval: {roles: [admin], count: 2, timeout: 5m}}
          - {id: look, title: Look, manual: Look at the page., timeout: 5m}
        """;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 120_000)]
    public async Task Run_ThatWaitsForPeople_GoesOnWhenTheRightOnesAnswered()
    {
        using var folder = Folder(("release.yml", Release));
        await using var server = await TestServer.StartAsync(policyFile: Path.Combine(folder.Path, "policy.yml"));
        var runs = new RunbooksClient(server.Connect());
        var run = await StartAsync(runs, "release");
        await Eventually.TrueAsync(async () => (run = (await runs.RunAsync(run.Id, Cancel)).Run) is { State: RunPhase.Waiting, Waiting: [{ Step: "agree", Needed: 2 }] }, "it waits", Cancel);

        foreach (var role in new[] { AccessRole.Viewer, AccessRole.Operator })
            Assert.Equal(HttpStatusCode.Forbidden, (await Assert.ThrowsAsync<ApiException>(async () => await As(server, await server.TokenAsync(role)).ApproveAsync(run.Id, new ReplyRequest(), Cancel))).Status);
        await Assert.ThrowsAsync<ApiException>(() => runs.ConfirmAsync(run.Id, new ReplyRequest { Note = "done" }, Cancel)); // that is not what it waits for

        await runs.ApproveAsync(run.Id, new ReplyRequest { Note = "fine" }, Cancel);
        var again = await Assert.ThrowsAsync<ApiException>(() => runs.ApproveAsync(run.Id, new ReplyRequest(), Cancel));
        Assert.Contains("counts once", again.Message, StringComparison.Ordinal);
        run = (await As(server, await new AccessClient(server.Connect()).CreateAsync(new TokenRequest { Role = AccessRole.Admin, Name = "bob" }, Cancel)).ApproveAsync(run.Id, new ReplyRequest { Step = "agree" }, Cancel)).Run;
        Assert.Equal(2, run.Steps.Single(s => s.Id == "agree").Agreed.Count);

        // By hand, over the command line.
        await Eventually.TrueAsync(async () => (await runs.RunAsync(run.Id, Cancel)).Run.Waiting is [{ Step: "look", ByHand: true, Text: "Look at the page." }], "it waits for hands", Cancel);
        var (none, _, why) = await BrAsync(server, "runbook", "confirm", run.Id);
        Assert.Equal(4, none);
        Assert.Contains("--note", why, StringComparison.Ordinal);
        var (code, said, error) = await BrAsync(server, "runbook", "confirm", run.Id, "--note", "it is green", "--output", "json");
        Assert.True(code == 0, error);
        Assert.Equal(run.Id, JsonDocument.Parse(said).RootElement.GetProperty("run").GetProperty("id").GetString());
        await Eventually.TrueAsync(async () => (run = (await runs.RunAsync(run.Id, Cancel)).Run).FinishedAt is not null, "it ends", Cancel);
        Assert.Equal((RunPhase.Succeeded, "it is green"), (run.State, run.Steps[^1].Outputs["note"]));

        var (logs, journal, _) = await BrAsync(server, "runbook", "logs", run.Id);
        Assert.Equal(0, logs);
        foreach (var line in new[] { "waits for agreement", "agrees: fine", "did it: it is green", "succeeded: every step is done" })
            Assert.Contains(line, journal, StringComparison.Ordinal);
    }

    [Fact(Timeout = 120_000)]
    public async Task Actions_UnderTheFieldsNames_AreKnown()
    {
        await using var server = await TestServer.StartAsync();
        var registry = server.Services.GetRequiredService<ActionRegistry>();
        Assert.All(
            (string[])["traffic.hold", "traffic.resume", "traffic.shift", "traffic.drain", "database.close", "database.fence", "database.seal", "database.catch-up", "database.select", "database.move", "database.promote", "database.open", "database.follow", "database.verify", "database.adopt"],
            name => Assert.Equal(name, registry.Find(name)?.Name));
    }

    [Fact(Timeout = 120_000)]
    public async Task Reject_OrAbort_OfAWaitingRun_EndsIt()
    {
        using var folder = Folder(("release.yml", Release));
        await using var server = await TestServer.StartAsync(policyFile: Path.Combine(folder.Path, "policy.yml"));
        var runs = new RunbooksClient(server.Connect());
        foreach (var (verb, state) in new[] { ("reject", RunPhase.Refused), ("abort", RunPhase.Aborted) })
        {
            var run = await StartAsync(runs, "release");
            await Eventually.TrueAsync(async () => (await runs.RunAsync(run.Id, Cancel)).Run.State == RunPhase.Waiting, "it waits", Cancel);
            Assert.Equal(HttpStatusCode.Conflict, (await Assert.ThrowsAsync<ApiException>(() => StartAsync(runs, "release"))).Status); // it still holds what it is over
            var (code, _, error) = await BrAsync(server, "runbook", verb, run.Id, "--reason", "not today");
            Assert.True(code == 0, error);
            await Eventually.TrueAsync(async () => (run = (await runs.RunAsync(run.Id, Cancel)).Run).FinishedAt is not null, "it ends", Cancel);
            Assert.Equal(state, run.State);
        }
    }

    [Fact(Timeout = 120_000)]
    public async Task Abort_OfAParent_StopsTheRunThatIsItsStepFirst_AndAnExpiredAgreementIsAFailure()
    {
        using var folder = Folder(
            ("release.yml", Release),
            ("parent.yml", "name: parent\ntitle: P\nsteps:\n  - {id: pause, title: P, action: wait, with: {for: 1ms}}\n  - {id: child, title: C, runbook: release}\n"),
            ("hurry.yml", "name: hurry\ntitle: H\nsteps:\n  - {id: soon, title: S, approval: {timeout: 1s}}\n"));
        await using var server = await TestServer.StartAsync(policyFile: Path.Combine(folder.Path, "policy.yml"));
        var runs = new RunbooksClient(server.Connect());
        var (parent, hurry) = (await StartAsync(runs, "parent"), await StartAsync(runs, "hurry"));
        var child = $"{parent.Id}.child";
        await Eventually.TrueAsync(async () => (await runs.RunsAsync(Cancel)).Runs.Any(r => r.Id == child && r.State == RunPhase.Waiting), "the child waits", Cancel);
        await runs.AbortAsync(parent.Id, new AbortRequest { Reason = "no" }, Cancel);
        await Eventually.TrueAsync(async () => (parent = (await runs.RunAsync(parent.Id, Cancel)).Run).FinishedAt is not null, "the parent ends", Cancel);
        var ended = (await runs.RunAsync(child, Cancel)).Run;
        Assert.Equal((RunPhase.Aborted, RunPhase.Aborted, parent.Id, "child"), (parent.State, ended.State, ended.Parent, ended.ParentStep));
        Assert.True(ended.FinishedAt <= parent.FinishedAt);

        await Eventually.TrueAsync(async () => (hurry = (await runs.RunAsync(hurry.Id, Cancel)).Run).FinishedAt is not null, "nobody answered", Cancel);
        Assert.Equal((RunPhase.RolledBack, true), (hurry.State, hurry.Outcome!.Contains("only 0 of 1 agreed in time", StringComparison.Ordinal)));
    }

    [Fact(Timeout = 120_000)]
    public async Task Documents_ChangedWhileARunGoesOn_TheRunKeepsItsVersion_AndABadOneIsSaid()
    {
        using var folder = Folder(("release.yml", Release), ("odd.yml", "name: odd\ntitle: Odd\nsteps:\n  - {id: a, title: A, action: no.such}\n"));
        var file = Path.Combine(folder.Path, "runbooks", "release.yml");
        await using var server = await TestServer.StartAsync(policyFile: Path.Combine(folder.Path, "policy.yml"));
        var runs = new RunbooksClient(server.Connect());
        var run = await StartAsync(runs, "release");
        var before = run.Hash;

        await File.WriteAllTextAsync(file, Release.Replace("Look at the page.", "Look twice.", StringComparison.Ordinal), Cancel);
        await Eventually.TrueAsync(async () => (await runs.ShowAsync("release", Cancel)).Hash != before, "the change is in force", Cancel);
        var after = (await runs.ShowAsync("release", Cancel)).Hash;
        run = (await runs.RunAsync(run.Id, Cancel)).Run;
        Assert.Equal(before, run.Hash);
        await runs.AbortAsync(run.Id, new AbortRequest(), Cancel);

        await File.WriteAllTextAsync(file, Release.Replace("manual:", "manuel:", StringComparison.Ordinal), Cancel);
        RunbookSummary? bad = null;
        await Eventually.TrueAsync(async () => (bad = (await runs.ListAsync(Cancel)).Runbooks.Single(r => r.Name == "release")).Warnings.Count > 0, "the bad text is told", Cancel);
        Assert.Equal(after, bad!.Hash);
        Assert.Contains("release.yml:7:", bad.Warnings[0], StringComparison.Ordinal);
        Assert.Contains("Did you mean `manual`?", bad.Warnings[0], StringComparison.Ordinal);

        var (code, said, error) = await BrAsync(server, "runbook", "evaluate", "--output", "json");
        Assert.Equal(4, code); // an action that nobody knows
        var evaluations = JsonDocument.Parse(said).RootElement.GetProperty("evaluations").EnumerateArray().ToDictionary(e => e.GetProperty("runbook").GetString()!);
        Assert.Equal("bad", evaluations["odd"].GetProperty("verdict").GetString());
        Assert.Contains("'no.such'", evaluations["odd"].GetProperty("reasons")[0].GetString(), StringComparison.Ordinal);
        Assert.Equal("needs_inputs", evaluations["drain-region"].GetProperty("verdict").GetString());
        Assert.Equal((after, "ready"), (evaluations["release"].GetProperty("hash").GetString(), evaluations["release"].GetProperty("verdict").GetString()));
        Assert.Equal("", error);
        Assert.Equal(4, (await BrAsync(server, "runbook", "run", "odd", "--reason", "x")).Code);
        Assert.Equal(0, (await BrAsync(server, "runbook", "evaluate", "release")).Code);

        var (shown, page, _) = await BrAsync(server, "runbook", "show", "failover");
        Assert.Equal(0, shown);
        foreach (var line in new[] { "Stop traffic to primary region", "failover.fence", "30s", "no way back from here", "reviewed 2026-11-23", "holds database/${database} alone" })
            Assert.Contains(line, page, StringComparison.Ordinal);
        Assert.Contains("Did you mean `failover`?", (await BrAsync(server, "runbook", "show", "failovr")).Error, StringComparison.Ordinal);
    }

    private static async Task<RunRecord> StartAsync(RunbooksClient runs, string runbook) =>
        (await runs.StartAsync(new RunRequest { Runbook = runbook, Reason = "test" }, Cancel)).Run!;

    private static RunbooksClient As(TestServer server, TokenCreated token) => new(server.Connect(token.Token));

    /// <summary>A policy with a folder of runbooks beside it.</summary>
    private static TempFolder Folder(params (string Name, string Text)[] files)
    {
        var folder = new TempFolder();
        File.Copy(Path.Combine(Repository.Root, "governance", "policy.yml"), Path.Combine(folder.Path, "policy.yml"));
        Directory.CreateDirectory(Path.Combine(folder.Path, "runbooks"));
        foreach (var (name, text) in files)
            File.WriteAllText(Path.Combine(folder.Path, "runbooks", name), text);
        return folder;
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
