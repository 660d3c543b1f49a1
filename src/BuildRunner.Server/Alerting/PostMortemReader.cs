using System.Text.Json;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Alerting;

/// <summary>Gathers what a post-mortem is written from. The runs' records are read anew each time: a loss that was counted later is in them.</summary>
internal sealed class PostMortemReader(IncidentBook book, Outbox outbox, RunRecords runs)
{
    public async Task<PostMortemFacts?> ReadAsync(string id, CancellationToken cancel)
    {
        if (await book.GetAsync(id, cancel) is not { } incident)
            return null;
        var found = new List<PostMortemRun>();
        foreach (var run in incident.Runs)
        {
            if (await runs.GetAsync(run.Id, cancel) is { } record)
                found.Add(Of(record));
        }
        return new PostMortemFacts { Incident = incident, Timeline = await book.TimelineAsync(id, cancel), Runs = found, Deliveries = await outbox.AboutAsync(id, cancel) };
    }

    private static PostMortemRun Of(RunRecord run) => new()
    {
        Id = run.Id,
        Runbook = run.Runbook,
        State = JsonNamingPolicy.SnakeCaseLower.ConvertName(run.State.ToString()),
        Actor = run.Actor,
        DurationMs = run.DurationMs,
        OutageMs = run.OutageMs,
        RequestsFailed = Number(run.Report, "requests_failed"),
        LostCommits = run.Lost?.Commits,
        LostBytes = run.Lost?.Bytes,
        Troubles = [.. run.Steps.Where(s => s.Error is not null && s.Status is StepStatus.Failed or StepStatus.UndoFailed).Select(s => $"{s.Title}: {s.Error}"), .. Warnings(run.Report)],
    };

    private static long? Number(JsonElement? report, string name) =>
        report is { ValueKind: JsonValueKind.Object } data && data.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number) ? number : null;

    private static IEnumerable<string> Warnings(JsonElement? report) =>
        report is { ValueKind: JsonValueKind.Object } data && data.TryGetProperty("warnings", out var warnings) && warnings.ValueKind == JsonValueKind.Array
            ? warnings.EnumerateArray().Where(w => w.ValueKind == JsonValueKind.String).Select(w => w.GetString()!)
            : [];
}
