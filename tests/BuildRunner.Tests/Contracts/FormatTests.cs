using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BuildRunner.Client;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Regions;
using BuildRunner.Client.Routing;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Recovery;
using BuildRunner.Server.Runbooks;
using BuildRunner.Tests.Recovery;
using BuildRunner.Tests.Regions;
using BuildRunner.Tests.Support;
using Microsoft.AspNetCore.Http.HttpResults;

namespace BuildRunner.Tests.Contracts;

/// <summary>
/// Formats that stay: what was written once is read for ever, and what people's scripts read keeps its shape. A change shows here as a
/// difference of a file in tests/recordings; `BR_WRITE_RECORDINGS=1` writes them anew, for a change that is meant and only adds.
/// </summary>
public class FormatTests
{
    private static readonly DateTimeOffset At = new(2026, 11, 23, 10, 0, 0, 123, TimeSpan.Zero);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void Journal_AsRecorded_IsWrittenTheSameAndFoldsTheSame()
    {
        Same("journal.v1.jsonl", string.Join('\n', Lines.Select(e => Encoding.UTF8.GetString(Journal.Write(e)))));
        var read = Recordings.Read("journal.v1.jsonl").Split('\n').Select(line => Journal.Read(Encoding.UTF8.GetBytes(line))).ToList();
        var kinds = typeof(RunEvent).GetNestedTypes().Where(t => t.IsSubclassOf(typeof(RunEvent))).Select(t => t.Name).Order();
        Assert.Equal(kinds, read.Concat(PeopleLines).Select(e => e.GetType().Name).Distinct().Order()); // every kind is recorded

        var state = RunState.Fold(read)!;
        Assert.Equal((RunPhase.Failed, "ada", 1, "mend it"), (state.Phase, state.AbortedBy, state.Resumes, state.Person));
        Assert.Equal(
            ["hold UndoFailed 2 gateways do not answer", "fence Undone 1 ", "move Failed 1 no proof"],
            state.Steps.Select(s => $"{s.Step.Id} {s.Status} {s.Attempt} {s.Error}"));
        Assert.Equal("2", state.Steps[1].Outputs["epoch"]);
        Assert.Equal(1.5, state.Steps[0].Milliseconds);
        Assert.True(state.Report!.Value.GetProperty("success").ValueKind == JsonValueKind.False);
    }

    /// <summary>An auditor keeps a file for years. This one was made without this code: by a JSON library that sorts keys, and by openssl.</summary>
    [Fact]
    public void Evidence_AsRecorded_IsGenuineForEver()
    {
        var genuine = Assert.IsType<EvidenceVerdict.Genuine>(EvidenceFile.Verify(File.ReadAllBytes(Path.Combine(Recordings.Folder, "evidence.v1.json")), "SHA256:a56eebf89d4ea6645171b4a012e51e04a0ba404fda67efbb75fe44f63229c9b9"));
        Assert.Equal(("house", 1, 3000.0, "approved"), (genuine.Evidence.Server, genuine.Evidence.Drills.Count, genuine.Evidence.Moves[0].OutageMs!.Value, genuine.Evidence.Approvals[0].Said));
    }

    /// <summary>What came later: conditions, groups, people, runs that are steps. Lines of before are read as they were.</summary>
    [Fact]
    public void JournalOfPeople_AsRecorded_IsWrittenTheSameAndFoldsTheSame()
    {
        Same("journal-people.v1.jsonl", string.Join('\n', PeopleLines.Select(e => Encoding.UTF8.GetString(Journal.Write(e)))));
        var state = RunState.Fold(Recordings.Read("journal-people.v1.jsonl").Split('\n').Select(line => Journal.Read(Encoding.UTF8.GetBytes(line))))!;
        Assert.Equal((RunPhase.Waiting, "parent-20261123-100000-abcd", "region", 90.0), (state.Phase, state.Parent, state.ParentStep, state.Runbook.Steps[0].Approval!.Timeout.TotalSeconds));
        Assert.Equal(["slow Skipped", "go Done", "hand Done", "late Failed", "no Failed", "still Failed", "open Waiting"], state.Steps.Select(s => $"{s.Step.Id} {s.Status}"));
        Assert.Equal(["ada", "bob"], state.Steps[1].Agreed.Select(a => a.Actor));
        Assert.Equal("the phones ring", state.Outputs["hand.note"]);
    }

    [Fact]
    public void EpochRecord_AsRecorded_IsWrittenAndReadTheSame() => Form("epoch-record.v1.json", WireJson.Default.EpochRecord, EpochTransitions.First("main", "us-east-1", ["us-east-1", "us-west-1"], At) with
    {
        Epoch = 2, State = EpochState.Moving, Primary = "us-west-1", Run = "failover-20261123-100000-abcd",
        Former = new EpochFormer(1, "us-east-1", new FenceProof { Kind = FenceProofKind.PoweredOff, Epoch = 1, Region = "us-east-1", Evidence = "no process is left", At = At }, new Lsn(0x5717510), 2),
    });

    [Fact]
    public void GatewaysSavedTable_AsRecorded_IsWrittenAndReadTheSame() => Form("gateway-table.v1.json", WireJson.Default.GatewayDocument, new GatewayDocument
    {
        Table = new RoutingTable
        {
            Version = 42, At = At, DefaultRegion = "us-east-1", AllowedRegions = ["us-east-1", "eu-west-1"], TrustedProxies = ["10.0.0.0/8"],
            Regions = [new RegionRow { Code = "us-east-1", Name = "US East", Role = RegionRole.Primary, Location = new GeoPoint(38.95, -77.45), Endpoint = "http://127.0.1.1:8080", Health = HealthState.Healthy, HasDatabase = true, ServesReads = true, LagSeconds = 0 }],
            Services =
            [
                new ServiceRow
                {
                    Name = "api", Database = "main", VerifyPath = "/br/verify", WarmPath = "/br/warm",
                    Routes = [new RouteRow { Pattern = "/api/**", Reads = ReadKind.SafeMethods, PreferReplica = true, StayIn = ["eu-west-1"], Cache = "api" }],
                    Instances = [new InstanceRow { Region = "us-east-1", Id = "api-1", Address = "http://127.0.1.1:9101", Version = "v1", Health = HealthState.Healthy }],
                },
            ],
            Databases = [new DatabaseRow { Name = "main", Epoch = 2, State = EpochState.Closing, Primary = "us-east-1", HoldId = "failover-20261123-100000-abcd", Writable = false }],
            Latencies = [new LatencyRow("us-east-1", "eu-west-1", 80.5)],
        },
        Probes = [],
    });

    [Fact(Timeout = 60_000)]
    public async Task Failover_WhatItAnswers_HasTheRecordedShapes()
    {
        await using var house = new FailoverHouse();
        await house.OpenAsync(Cancel);
        var planned = Assert.IsType<RunDecision.Planned>(await house.Desk.AskAsync(new RunRequest { Runbook = "failover", DryRun = true, Inputs = new Dictionary<string, string> { ["target"] = FailoverHouse.West } }, "tester", false, Cancel));
        ShapeIs("failover-dry-run.v1.txt", RecoveryJson.Default.FailoverResult, new FailoverResult { Success = true, DurationMinutes = 1, RtoAchieved = true, Plan = planned.Plan });

        Assert.Null(await house.RunAsync(Cancel, ("target", FailoverHouse.West)));
        var run = await house.TheRunAsync(Cancel);
        ShapeIs("failover.v1.txt", RecoveryJson.Default.FailoverResult, new FailoverResult { Success = true, DurationMinutes = 1, RtoAchieved = true, Run = run });
        ShapeIs("runbook-status.v1.txt", RunbooksJson.Default.RunDetail, new RunDetail { Run = run });
        ShapeIs("runbook-status-all.v1.txt", RunbooksJson.Default.RunList, new RunList { Runs = await house.Records.ListAsync(Cancel) });

        var status = Assert.IsType<JsonHttpResult<RecoveryStatus>>(await RecoveryEndpoints.StatusAsync(house.Policy, house.Reader, house.Records, house.Dns, house.Resolvers, new BuildRunner.Server.Hosting.Standing(TimeProvider.System), Cancel)).Value!;
        ShapeIs("dr-status.v1.txt", RecoveryJson.Default.RecoveryStatus, status);
    }

    [Fact]
    public void ShapeIs_AFieldIsRenamed_IsNoticed() =>
        Assert.NotEqual(string.Join('\n', Shape.Of(JsonDocument.Parse("""{"run":{"outage_ms":1}}""").RootElement)), string.Join('\n', Shape.Of(JsonDocument.Parse("""{"run":{"outage":1}}""").RootElement)));

    private static IReadOnlyList<RunEvent> Lines { get; } =
    [
        new RunEvent.RunStarted
        {
            At = At, Run = "failover-20261123-100000-abcd", Hash = "0123456789ab", Actor = "ada", Reason = "us-east-1 lost power – \"all\" of it", Policy = "p1",
            Inputs = new SortedDictionary<string, string> { ["target"] = "us-west-1" },
            Runbook = new Runbook
            {
                Name = "failover", Title = "Move a primary", Reviewed = new DateOnly(2026, 11, 23), Inputs = [new("target", "region", Required: true, Default: null)],
                Steps =
                [
                    new RunbookStep { Id = "hold", Title = "Stop traffic", Summary = "hold writes", Action = "failover.hold", With = new Dictionary<string, string> { ["target"] = "${target}" }, Timeout = TimeSpan.FromSeconds(5), Retries = 1, RetryDelay = TimeSpan.FromMilliseconds(200), IfStuck = "look" },
                    new RunbookStep { Id = "fence", Title = "Stop traffic", Action = "failover.fence", OnFailure = OnFailure.Abort },
                    new RunbookStep { Id = "move", Title = "Promote", Action = "failover.move", OnFailure = OnFailure.ContinueAndFail, Undo = false, PointOfNoReturn = true, AfterResume = true },
                ],
            },
        },
        new RunEvent.StepStarted { At = At, Step = "hold", Attempt = 1, Key = "failover-20261123-100000-abcd/hold" },
        new RunEvent.StepFailed { At = At, Step = "hold", Attempt = 1, Error = "not done within 5 s", Unknown = true, Milliseconds = 5000 },
        new RunEvent.StepVerified { At = At, Step = "hold", Attempt = 1, Already = null, Detail = "nobody answers" },
        new RunEvent.StepStarted { At = At, Step = "hold", Attempt = 2, Key = "failover-20261123-100000-abcd/hold" },
        new RunEvent.StepFinished { At = At, Step = "hold", Attempt = 2, Outputs = new Dictionary<string, string> { ["gateways"] = "3" }, Milliseconds = 1.5 },
        new RunEvent.StepStarted { At = At, Step = "fence", Attempt = 1, Key = "failover-20261123-100000-abcd/fence" },
        new RunEvent.Resumed { At = At, Server = "server-2" },
        new RunEvent.StepVerified { At = At, Step = "fence", Attempt = 1, Already = true, Outputs = new Dictionary<string, string> { ["epoch"] = "2" } },
        new RunEvent.StepStarted { At = At, Step = "move", Attempt = 1, Key = "failover-20261123-100000-abcd/move" },
        new RunEvent.StepFailed { At = At, Step = "move", Attempt = 1, Error = "no proof", Refused = true, Milliseconds = 2 },
        new RunEvent.AbortRequested { At = At, Actor = "ada", Reason = "false alarm" },
        new RunEvent.UndoStarted { At = At, Step = "fence", Key = "failover-20261123-100000-abcd/fence/undo" },
        new RunEvent.Undone { At = At, Step = "fence", Outputs = new Dictionary<string, string> { ["epoch"] = "2" } },
        new RunEvent.UndoStarted { At = At, Step = "hold", Key = "failover-20261123-100000-abcd/hold/undo" },
        new RunEvent.UndoFailed { At = At, Step = "hold", Error = "gateways do not answer" },
        new RunEvent.RunFinished { At = At, State = RunPhase.Failed, Reason = "taking back 'hold' failed", Person = "mend it", Report = JsonDocument.Parse("""{"success":false}""").RootElement },
    ];

    private static IReadOnlyList<RunEvent> PeopleLines { get; } =
    [
        new RunEvent.RunStarted
        {
            At = At, Run = "parent-20261123-100000-abcd.region", Hash = "0123456789ab", Actor = "ada", Reason = "drill", Parent = "parent-20261123-100000-abcd", ParentStep = "region",
            Inputs = new SortedDictionary<string, string> { ["variant"] = "ungraceful" },
            Runbook = new Runbook
            {
                Name = "all", Title = "All", Over = "region/${region}", Inputs = [new("variant", "how", Default: "graceful", Values: ["graceful", "ungraceful"])],
                Steps =
                [
                    new RunbookStep
                    {
                        Id = "slow", Title = "Slow", Action = "wait", With = new Dictionary<string, string> { ["for"] = "1s" }, When = "${variant} == 'x'", Only = "graceful", Group = "both",
                        Approval = new StepApproval { Roles = ["admin"], Count = 2, Timeout = TimeSpan.FromSeconds(90) },
                        Check = new StepCall { Action = "health.verify", With = new Dictionary<string, string> { ["region"] = "us-east-1" } }, Verify = new StepCall { Action = "http" }, UndoBy = new StepCall { Runbook = "undo" },
                    },
                    new RunbookStep { Id = "go", Title = "Go", Action = "runbook", Runbook = "other", Group = "both", Approval = new StepApproval { Count = 2 } },
                    new RunbookStep { Id = "hand", Title = "Hand", Action = "manual", Manual = "Look." },
                    new RunbookStep { Id = "late", Title = "Late", Action = "approval", Approval = new StepApproval(), OnFailure = OnFailure.Continue },
                    new RunbookStep { Id = "no", Title = "No", Action = "approval", Approval = new StepApproval(), OnFailure = OnFailure.Continue },
                    new RunbookStep { Id = "still", Title = "Still", Action = "manual", Manual = "Look.", OnFailure = OnFailure.Continue },
                    new RunbookStep { Id = "open", Title = "Open", Action = "approval", Approval = new StepApproval() },
                ],
            },
        },
        new RunEvent.StepSkipped { At = At, Step = "slow", Why = "${variant} == 'x' does not hold" },
        new RunEvent.ApprovalRequested { At = At, Step = "go", Expires = At.AddHours(24) },
        new RunEvent.Approved { At = At, Step = "go", Actor = "ada", Role = "operator", Note = "go ahead" },
        new RunEvent.Approved { At = At, Step = "go", Actor = "ada", Role = "operator" },
        new RunEvent.Approved { At = At, Step = "go", Actor = "bob", Role = "admin" },
        new RunEvent.StepStarted { At = At, Step = "go", Attempt = 1, Key = "parent-20261123-100000-abcd.region/go" },
        new RunEvent.StepFinished { At = At, Step = "go", Attempt = 1, Outputs = new Dictionary<string, string> { ["run"] = "parent-20261123-100000-abcd.region.go" }, Milliseconds = 3 },
        new RunEvent.ConfirmationRequested { At = At, Step = "hand", Expires = At.AddHours(24) },
        new RunEvent.Confirmed { At = At, Step = "hand", Actor = "cyd", Note = "the phones ring" },
        new RunEvent.ApprovalRequested { At = At, Step = "late", Expires = At.AddHours(24) },
        new RunEvent.ApprovalExpired { At = At, Step = "late" },
        new RunEvent.ApprovalRequested { At = At, Step = "no", Expires = At.AddHours(24) },
        new RunEvent.Rejected { At = At, Step = "no", Actor = "bob", Reason = "not now" },
        new RunEvent.ConfirmationRequested { At = At, Step = "still", Expires = At.AddHours(24) },
        new RunEvent.ConfirmationExpired { At = At, Step = "still" },
        new RunEvent.ApprovalRequested { At = At, Step = "open", Expires = At.AddHours(24) },
    ];

    /// <summary>What is recorded reads, and reads to what is written now.</summary>
    internal static void Form<T>(string name, JsonTypeInfo<T> type, T value)
    {
        Same(name, JsonSerializer.Serialize(value, type));
        Assert.Equal(Recordings.Read(name), JsonSerializer.Serialize(JsonSerializer.Deserialize(Recordings.Read(name), type)!, type));
    }

    internal static void ShapeIs<T>(string name, JsonTypeInfo<T> type, T value) =>
        Same(name, string.Join('\n', Shape.Of(JsonDocument.Parse(JsonSerializer.Serialize(value, type)).RootElement)));

    internal static void Same(string name, string now)
    {
        if (Environment.GetEnvironmentVariable("BR_WRITE_RECORDINGS") == "1")
            File.WriteAllText(Path.Combine(Recordings.Folder, name), now + "\n");
        Assert.Equal(Recordings.Read(name), now);
    }
}
