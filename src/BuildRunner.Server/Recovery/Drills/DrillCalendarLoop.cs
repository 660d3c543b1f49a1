using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>Begins, or evaluates, the drills of the calendar. What it does about a time is written down before it is done: nothing is done twice.</summary>
internal sealed partial class DrillCalendarLoop(
    DrillCalendarBook book, DrillGround ground, RunDesk desk, IPolicySource policy, IEventLog events, Lead lead, TimeProvider time, ILogger<DrillCalendarLoop> logger)
    : ReconcileLoop(Interval, time, logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(20);
    private readonly TimeProvider _time = time;
    private readonly ILogger _logger = logger;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (lead() is not { } fence)
            return;
        var now = _time.GetUtcNow();
        foreach (var (kind, _, _) in DrillCalendarBook.Kinds(policy.Current.Drills))
        {
            if (await book.GetAsync(kind, cancel) is null)
                await book.PutAsync(new DrillCalendarRecord { Kind = kind, Since = now }, fence, cancel);
        }
        var facts = await ground.ReadAsync(now, cancel);
        switch (DrillCalendar.Decide(facts))
        {
            case DrillCalendarMove.Run run when await DealtWithAsync(run.Slot.Kind, run.Due, DrillCalendarWord.Run, run.Reason, fence, cancel):
                await BeginAsync(run, fence, cancel);
                break;
            case DrillCalendarMove.Evaluate evaluate when await DealtWithAsync(evaluate.Slot.Kind, evaluate.Due, DrillCalendarWord.Evaluated, evaluate.Reason, fence, cancel):
                await EvaluateAsync(evaluate, fence, cancel);
                break;
            case DrillCalendarMove.Miss miss when await DealtWithAsync(miss.Slot.Kind, miss.Due, DrillCalendarWord.Missed, miss.Reason, fence, cancel):
                await SayAsync("drill.missed", $"The {miss.Slot.Kind} drill of {miss.Due:yyyy-MM-dd HH:mm} UTC was not done: {miss.Reason}.", cancel);
                break;
        }
    }

    private async Task<bool> DealtWithAsync(string kind, DateTimeOffset due, DrillCalendarWord did, string reason, Fence fence, CancellationToken cancel)
    {
        var before = await book.GetAsync(kind, cancel);
        return await book.PutAsync(new DrillCalendarRecord { Kind = kind, Since = before?.Since ?? due, Due = due, At = _time.GetUtcNow(), Did = did, Reason = reason }, fence, cancel) is StoreWrite.Done;
    }

    private async Task BeginAsync(DrillCalendarMove.Run run, Fence fence, CancellationToken cancel)
    {
        var answer = await desk.AskAsync(Request(run.Slot.Kind, run.Due, dryRun: false), DrillSource.Calendar, automatic: true, cancel);
        if (answer is RunDecision.Begun begun)
        {
            await book.PutAsync((await book.GetAsync(run.Slot.Kind, cancel))! with { Run = begun.Run.Id }, fence, cancel);
            await SayAsync("drill.begun", $"The {run.Slot.Kind} drill of {run.Due:yyyy-MM-dd HH:mm} UTC has begun: {begun.Run.Id}.", cancel);
            return;
        }
        var why = string.Join(" ", Reasons(answer));
        await DealtWithAsync(run.Slot.Kind, run.Due, DrillCalendarWord.Missed, why, fence, cancel);
        await SayAsync("drill.missed", $"The {run.Slot.Kind} drill of {run.Due:yyyy-MM-dd HH:mm} UTC was refused: {why}", cancel);
    }

    private async Task EvaluateAsync(DrillCalendarMove.Evaluate evaluate, Fence fence, CancellationToken cancel)
    {
        var began = _time.GetUtcNow();
        var answer = await desk.AskAsync(Request(evaluate.Slot.Kind, evaluate.Due, dryRun: true), DrillSource.Calendar, automatic: true, cancel);
        var ready = answer is RunDecision.Planned { Plan.Ready: true };
        var rules = policy.Current.Recovery;
        var record = new DrillRecord
        {
            Id = string.Create(CultureInfo.InvariantCulture, $"evaluation-{evaluate.Slot.Kind}-{evaluate.Due:yyyyMMdd-HHmm}"),
            Type = "scheduled",
            Kind = evaluate.Slot.Kind,
            Scenario = "evaluated only: it is not armed",
            StartedAt = began,
            EndedAt = _time.GetUtcNow(),
            Outcome = ready ? "ready" : "refused",
            DryRun = true,
            RtoObjectiveMinutes = rules.Rto.TotalMinutes,
            RpoObjectiveMinutes = rules.Rpo.TotalMinutes,
            Notes = ready ? "It could have begun. Nothing was broken." : string.Join(" ", Reasons(answer)),
            Actor = DrillSource.Calendar,
        };
        await book.KeepAsync(record, fence, cancel);
        await SayAsync("drill.evaluated", $"The {evaluate.Slot.Kind} drill of {evaluate.Due:yyyy-MM-dd HH:mm} UTC was evaluated only ({record.Outcome}): `br dr drill arm --kind {evaluate.Slot.Kind}` lets it be done.", cancel);
    }

    private RunRequest Request(string kind, DateTimeOffset due, bool dryRun)
    {
        var rules = policy.Current.Drills;
        var inputs = new Dictionary<string, string> { ["outage_max"] = rules.OutageMax.TotalSeconds.ToString(CultureInfo.InvariantCulture) };
        if (kind == "scenario")
            inputs["scenario"] = rules.Scenario;
        return new RunRequest { Runbook = $"drill-{kind}", Inputs = inputs, Reason = $"{kind} drill of {due:yyyy-MM-dd HH:mm} UTC", DryRun = dryRun };
    }

    private static IReadOnlyList<string> Reasons(RunDecision answer) => answer switch
    {
        RunDecision.Planned planned => planned.Plan.Problems,
        RunDecision.Refused refused => refused.Reasons,
        RunDecision.Invalid invalid => invalid.Errors,
        RunDecision.Unknown unknown => [unknown.Reason],
        RunDecision.NoLead away => [away.Reason],
        _ => [],
    };

    private async Task SayAsync(string kind, string sentence, CancellationToken cancel)
    {
        LogSaid(_logger, sentence);
        await events.RecordAsync(kind, DrillSource.Calendar, sentence, null, cancel);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Drill calendar: {Sentence}")]
    private static partial void LogSaid(ILogger logger, string sentence);
}
