using System.Text;
using System.Text.Json;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Runbooks;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Runbooks;

/// <summary>The YAML form of a runbook: what it means, and what is said of one that is wrong.</summary>
[Trait("Category", "unit")]
public class RunbookDocumentTests
{
    /// <summary>The document that was code before it was YAML: every id, action, time, flag and text, and so its hash but for `over`; since then it got `dns.update` and an input.</summary>
    [Fact]
    public void Failover_AsYaml_MeansWhatTheCodeMeant()
    {
        var runbook = RunbookLibrary.Shipped("failover");
        Assert.Equal("database/${database}", runbook.Over);
        var started = Journal.Write(new RunEvent.RunStarted { At = default, Run = "r", Runbook = runbook with { Over = null }, Hash = "h", Inputs = new Dictionary<string, string>(), Actor = "a", Reason = "r" });
        Assert.Equal(Recordings.Read("failover-runbook.v1.json"), JsonDocument.Parse(started).RootElement.GetProperty("runbook").GetRawText());
        Assert.Equal("ba56fb9bb688", RunbookCheck.Hash(runbook with { Over = null }));
    }

    [Theory]
    [InlineData("drain-region", "Drain a region", "draining=true region=${region}")]
    [InlineData("undrain-region", "Send work to a region again", "draining=false region=${region}")]
    [InlineData("weight-region", "Set a region's share of the traffic", "region=${region} weight=${weight}")]
    public void RegionRunbooks_AsYaml_MeanWhatTheCodeMeant(string name, string title, string with)
    {
        var runbook = RunbookLibrary.Shipped(name);
        Assert.Equal((title, "region/${region}"), (runbook.Title, runbook.Over));
        Assert.Equal(["regions.control", "regions.seen"], runbook.Steps.Select(s => s.Action));
        Assert.All(runbook.Steps, s => Assert.Equal((TimeSpan.FromSeconds(10), 0, OnFailure.Rollback, true, false), (s.Timeout, s.Retries, s.OnFailure, s.Undo, s.PointOfNoReturn)));
        Assert.All(runbook.Steps, s => Assert.Equal(with, string.Join(' ', s.With.Select(w => $"{w.Key}={w.Value}"))));
        Assert.Contains(runbook.Inputs, i => i is { Name: "region", Required: true });
    }

    [Fact]
    public void Shipped_EachFileOfGovernance_IsInTheExecutable()
    {
        var files = Directory.EnumerateFiles(Path.Combine(Repository.Root, "governance", "runbooks"), "*.yml").Select(Path.GetFileNameWithoutExtension).Order();
        Assert.Equal(files, RunbookLibrary.ShippedNames.Order());
        Assert.All(RunbookLibrary.ShippedNames, name => Assert.NotNull(RunbookLibrary.Shipped(name).Reviewed));
    }

    [Fact]
    public void Guide_ItsExample_IsGoodAndEveryKeyIsInItsTables()
    {
        var page = File.ReadAllText(Path.Combine(Repository.Root, "docs", "guide", "runbooks.md"));
        var example = page.Split("```yaml\n")[1].Split("```")[0];
        var runbook = SurvivalKitTests.Read(example);
        Assert.Equal(["agree", "drain", "mend", "back", "healthy"], runbook.Steps.Select(s => s.Id));
        Assert.Empty(RunbookCheck.Errors(runbook, name => name is StepKind.Approval or "health.verify" or "regions.control" or "regions.seen", null, name => RunbookLibrary.ShippedNames.Contains(name) ? RunbookLibrary.Shipped(name) : null));
        var missing = typeof(RunbookStep).GetProperties().Select(p => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(p.Name)).Except(["goes_on", "group", "undo_by"]).Where(key => !page.Contains($"`{key}`", StringComparison.Ordinal));
        Assert.Empty(missing);
    }

    [Fact]
    public void Bind_EverythingAStepMayHave_IsRead()
    {
        var runbook = SurvivalKitTests.Read("""
            name: all
            title: All
            reviewed: 2026-01-02
            over: service/${service}
            inputs:
              service: {summary: which, required: true}
              speed: {summary: how fast, default: slow, values: [slow, fast]}
            steps:
              - id: one
                title: One
                summary: the first
                action: http
                with: {url: "http://x/${service}", body: "a\nb"}
                when: ${speed} == 'fast'
                only: graceful
                timeout: 90s
                retries: 3
                retry_delay: 200ms
                on_failure: continue_and_fail
                check: {action: health.verify, with: {region: r}}
                verify: {action: http, with: {url: "http://x/${one.status}"}}
                undo: {action: http, with: {url: http://x, method: DELETE}}
                after_resume: true
                if_stuck: Call somebody.
                approval: {roles: [admin], count: 2, timeout: 10m}
              - id: group
                title: Together
                when: ${service}
                parallel:
                  - {id: a, action: wait, with: {for: 1s}}
                  - {id: b, title: Other, action: wait, when: "${speed}", undo: false}
              - {id: hand, title: Hand, manual: "Look at ${one.status}."}
              - {id: child, title: Child, runbook: other, with: {region: "${a.x}"}}
              - {id: may, title: May it, approval: {}}
            """);
        var one = runbook.Steps[0];
        Assert.Equal(("graceful", 3, OnFailure.ContinueAndFail, "health.verify", "http", "DELETE"), (one.Only, one.Retries, one.OnFailure, one.Check!.Action, one.Verify!.Action, one.UndoBy!.With["method"]));
        Assert.Equal((TimeSpan.FromSeconds(90), TimeSpan.FromMilliseconds(200), 2, TimeSpan.FromMinutes(10)), (one.Timeout, one.RetryDelay, one.Approval!.Count, one.Approval.Timeout));
        Assert.Equal(["a group Together ${service}", "b group Other (${service}) && (${speed})"], runbook.Steps.Where(s => s.Group is not null).Select(s => $"{s.Id} {s.Group} {s.Title} {s.When}"));
        Assert.Equal(["manual True", "runbook False", "approval True"], runbook.Steps.Skip(3).Select(s => $"{s.Action} {s.Undo}"));
        Assert.Equal(["service", "speed", "variant"], runbook.Inputs.Select(i => i.Name)); // a step of one variant asks for which
        Assert.Equal(["operator", "admin"], runbook.Steps[^1].Approval!.Roles);
        Assert.Equal(runbook.Steps.Select(s => s.Id), Journal.Read(Journal.Write(Started(runbook))) is RunEvent.RunStarted read ? read.Runbook.Steps.Select(s => s.Id) : []);
        Assert.Equal(RunbookCheck.Hash(runbook), RunbookCheck.Hash(((RunEvent.RunStarted)Journal.Read(Journal.Write(Started(runbook)))).Runbook));
    }

    [Fact]
    public void Bind_ManyMistakes_AreAllSaidWithPlaceKeyAndFix()
    {
        var binding = RunbookFile.Bind(Encoding.UTF8.GetBytes("""
            name: bad
            titel: Bad
            reviewed: yesterday
            over: x/${regin}
            inputs:
              region: {summary: which, default: a, values: [b, c]}
            steps:
              - id: one
                title: One
                action: wait
                timeout: 5
                retrys: 2
                on_failure: roll_back
                when: ${region} = 'x'
                with: {for: "${later.out}"}
              - id: one
                title: Two
                action: wait
                manual: look
              - title: Three
              - parallel:
                  - {id: p, title: P, action: wait, with: {for: "${q.x}"}}
                  - {id: q, title: Q, action: wait, approval: {roles: [boss], count: 0}}
              - {id: u, title: U, action: wait, undo: {action: a, runbook: b}, check: {runbook: c}}
            """), "bad.yml");
        Assert.Null(binding.Runbook);
        var said = string.Join('\n', binding.Errors);
        foreach (var expected in new[]
        {
            "bad.yml:2:1: titel: `titel` is not known as a section. Did you mean `title`?", "bad.yml:3:11: reviewed: 'yesterday' is no date.", "over: ${regin} is no input. Did you mean `region`?",
            "inputs.region.default: 'a' is none of its values.", "bad.yml:11:14: steps[0].timeout: '5' has no unit. Write 5ms, 5s or 5m, whichever is meant.",
            "steps[0].retrys: `retrys` is not known under `steps[0]`. Did you mean `retries`?", "steps[0].on_failure: 'roll_back' is not known here. Did you mean `rollback`?",
            "steps[0].when: '${region} = 'x'' is no condition: '=' is not expected here.", "steps[0].with.for: ${later.out} is no output of an earlier step.",
            "steps[1].id: Two steps are called 'one' (the other one is bad.yml:8:5).", "steps[1].manual: A step has one of `action`, `manual` and `runbook`, not `action` and `manual`.",
            "steps[2].id: `id` is missing.", "steps[2]: The step does nothing.", "steps[3].parallel[0].with.for: ${q.x} is no output of an earlier step.",
            "steps[3].parallel[1].approval.roles[0]: 'boss' is not known here.", "steps[3].parallel[1].approval.count: '0' is out of range.",
            "steps[4].undo: It names an action and a runbook.", "steps[4].check: A runbook has no place here.",
        })
            Assert.Contains(expected, said, StringComparison.Ordinal);
        Assert.All(binding.Errors, e => Assert.True(e.At.Line > 0 && e.Fix.Length > 0, e.ToString()));
    }

    [Theory]
    [InlineData("2026-11-23", 90, false)]
    [InlineData("2026-11-23", 91, true)]
    [InlineData(null, 0, true)]
    public void Stale_AfterNinetyDays_IsSaid(string? reviewed, int days, bool stale)
    {
        var runbook = new Runbook { Name = "n", Title = "t", Reviewed = reviewed is null ? null : DateOnly.Parse(reviewed, CultureInfo.InvariantCulture), Steps = [] };
        Assert.Equal(stale, RunbookCheck.Stale(runbook, new DateTimeOffset(2026, 11, 23, 0, 0, 0, TimeSpan.Zero).AddDays(days)) is not null);
    }

    [Fact]
    public void Errors_UnknownActionsAndRunbooksThatRunThemselves_AreNamedWithTheNearest()
    {
        Runbook Book(string name, string child) => SurvivalKitTests.Read($$$"""
            name: {{{name}}}
            title: T
            steps:
              - {id: a, title: A, action: wiat, check: {action: helth.verify}}
              - {id: c, title: C, runbook: {{{child}}}, undo: {runbook: nowhere}}
            """);
        var (one, two) = (Book("one", "two"), Book("two", "one"));
        var errors = RunbookCheck.Errors(one, name => name is "wait" or "health.verify", ["wait", "health.verify"], name => name == "one" ? one : name == "two" ? two : null);
        foreach (var expected in new[] { "'wiat', which no room of this server has registered. Did you mean `wait`?", "Did you mean `health.verify`?", "one → two → one", "runs the runbook 'nowhere', which there is not" })
            Assert.Contains(errors, e => e.Contains(expected, StringComparison.Ordinal));
    }

    [Fact]
    public void Library_FileOfTheUser_ComesFirst_StaysWhenItBecomesBad_AndGoesWithItsFile()
    {
        using var folder = new TempFolder();
        var file = Path.Combine(folder.Path, "drain.yml");
        var library = new RunbookLibrary(folder.Path, []);
        var shipped = library.Current["drain-region"].Hash;
        void Write(string text, int age)
        {
            File.WriteAllText(file, text);
            File.SetLastWriteTimeUtc(file, new DateTime(2026, 1, 1).AddSeconds(age));
        }

        const string Mine = "name: drain-region\ntitle: Mine\nsteps:\n  - {id: a, title: A, action: wait}\n";
        Write("name: drain-region\ntitel: Mine\n", 0);
        var refused = Assert.Single(library.Look());
        Assert.True(refused.Bad);
        Assert.Contains($"version {shipped} as shipped stays in force. drain.yml:1", refused.Sentence.Replace("drain.yml:2", "drain.yml:1", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Equal(shipped, library.Current["drain-region"].Hash);

        Write(Mine, 1);
        Assert.Contains("is in force", Assert.Single(library.Look()).Sentence, StringComparison.Ordinal);
        var good = library.Current["drain-region"];
        Assert.Equal(("Mine", file), (good.Runbook!.Title, good.Origin));
        Assert.Empty(library.Look());

        Write(Mine + "  - {id: b, tilte: B}\n", 2);
        Assert.Contains($"version {good.Hash} stays in force", Assert.Single(library.Look()).Sentence, StringComparison.Ordinal);
        Assert.Contains("Did you mean `title`?", library.Current["drain-region"].Complaint, StringComparison.Ordinal);

        File.Delete(file);
        Assert.Contains("shipped is in force", Assert.Single(library.Look()).Sentence, StringComparison.Ordinal);
        Assert.Equal(shipped, library.Current["drain-region"].Hash);
        File.WriteAllText(file, "name: own\ntitle: Own\nsteps: []\n");
        library.Look();
        Assert.Null(library.Current["own"].Runbook); // never was good: it is listed, and cannot be run
    }

    private static RunEvent.RunStarted Started(Runbook runbook) => new() { At = default, Run = "r", Runbook = runbook, Hash = "h", Inputs = new Dictionary<string, string>(), Actor = "a", Reason = "r" };
}
