using System.Text.Json;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Runbooks;

/// <summary>The runs' records in the store, `runs/{id}`: what lists and pages show. The journal is the truth; a record is its summary.</summary>
public sealed class RunRecords(IStore store)
{
    public const string Prefix = "runs/";

    public static string KeyOf(string run) => Prefix + run;

    public async Task<RunRecord?> GetAsync(string run, CancellationToken cancel) =>
        await store.GetAsync(KeyOf(run), cancel) is { } entry ? Read(entry) : null;

    /// <summary>Newest first.</summary>
    public async Task<IReadOnlyList<RunRecord>> ListAsync(CancellationToken cancel) =>
        [.. (await store.ListAsync(Prefix, cancel)).Select(Read).OrderByDescending(r => r.StartedAt).ThenByDescending(r => r.Id, StringComparer.Ordinal)];

    public Task<StoreWrite> PutAsync(RunRecord record, Fence? fence, CancellationToken cancel)
    {
        var write = Write(record);
        return store.PutAsync(write.Key, write.Value, null, fence, cancel);
    }

    public static KeyWrite Write(RunRecord record) => new(KeyOf(record.Id), JsonSerializer.SerializeToUtf8Bytes(record, RunbooksJson.Default.RunRecord));

    public Task<StoreWrite> DeleteAsync(string run, Fence? fence, CancellationToken cancel) => store.DeleteAsync(KeyOf(run), null, fence, cancel);

    /// <summary>The record as the journal tells it now; what a report brought stays.</summary>
    public static RunRecord Of(RunState state, long lines, string over, RunReport? report) => new()
    {
        Id = state.Run,
        Runbook = state.Runbook.Name,
        State = state.Phase,
        Actor = state.Actor,
        Reason = state.Reason,
        Inputs = state.Inputs,
        StartedAt = state.StartedAt,
        FinishedAt = state.FinishedAt,
        DurationMs = (state.FinishedAt - state.StartedAt)?.TotalMilliseconds,
        Over = over,
        Outcome = state.Outcome,
        Person = state.Person,
        OutageMs = report?.OutageMs,
        Lost = report?.Lost,
        Report = state.Report,
        Resumes = state.Resumes,
        JournalLines = lines,
        Hash = state.Hash,
        Parent = state.Parent,
        ParentStep = state.ParentStep,
        Waiting = state.Finished ? [] : [.. state.Steps.Where(s => s.Status == StepStatus.Waiting).Select(s => WaitOf(s, state))],
        Steps = [.. state.Steps.Select(StepOf)],
    };

    private static RunStep StepOf(StepState step) => new()
    {
        Id = step.Step.Id,
        Title = step.Step.Title,
        Summary = step.Step.Summary,
        Status = step.Status,
        Attempts = step.Attempt,
        StartedAt = step.StartedAt,
        DurationMs = step.Milliseconds,
        Error = step.Error,
        AfterResume = step.Step.AfterResume,
        Outputs = step.Outputs,
        Group = step.Step.Group,
        Agreed = [.. step.Agreed.Select(a => a.Actor)],
    };

    private static RunWait WaitOf(StepState step, RunState state) => new()
    {
        Step = step.Step.Id,
        Title = step.Step.Title,
        ByHand = RunReply.IsByHand(step),
        Text = RunReply.IsByHand(step) && step.Step.Manual is { } text ? StepArguments.Fill(text, state.Inputs, state.Outputs) : null,
        Roles = RunReply.RolesOf(step),
        Needed = RunReply.IsByHand(step) ? 1 : step.Step.Approval?.Count ?? 1,
        Agreed = [.. step.Agreed.Select(a => a.Actor)],
        Expires = step.Expires ?? state.StartedAt,
    };

    private static RunRecord Read(StoreEntry entry) =>
        JsonSerializer.Deserialize(entry.Value.Span, RunbooksJson.Default.RunRecord) ?? throw new JsonException($"{entry.Key} holds null.");
}
