using System.Text.Json;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Runbooks;

namespace BuildRunner.Server.Alerting;

/// <summary>A line of a run's journal, as a timeline tells it; null for what only the engine cares about.</summary>
internal static class RunLines
{
    /// <param name="run">The journal's first line.</param>
    /// <param name="happened">The line.</param>
    public static TimelineEntry? Of(RunEvent.RunStarted run, RunEvent happened)
    {
        return happened switch
        {
            RunEvent.RunStarted e => Line(TimelineKind.Run, e.Actor, $"Run {e.Run} began: {e.Reason}"),
            RunEvent.StepStarted { Attempt: > 1 } e => Step(e.Step, $"attempt {Number(e.Attempt)}."),
            RunEvent.StepFinished e => Step(e.Step, $"done in {Took(e.Milliseconds)}."),
            RunEvent.StepFailed e => Step(e.Step, $"{(e.Refused ? "refused" : e.Unknown ? "without an answer" : "failed")}: {e.Error}"),
            RunEvent.StepVerified { Already: true } e => Step(e.Step, "found done."),
            RunEvent.Undone e => Step(e.Step, "taken back."),
            RunEvent.UndoFailed e => Step(e.Step, $"could not be taken back: {e.Error}"),
            RunEvent.AbortRequested e => Line(TimelineKind.Run, e.Actor, $"Abort of run {run.Run} asked for{(e.Reason is { Length: > 0 } why ? $": {why}" : ".")}"),
            RunEvent.Resumed e => Line(TimelineKind.Run, "server", $"Run {run.Run} was taken up again by {e.Server}."),
            RunEvent.RunFinished e => Line(TimelineKind.Run, run.Actor, $"Run {run.Run} {Word(e.State)}: {e.Reason}{Outage(e.Report)}.{(e.Person is { } person ? $" {person}" : "")}"),
            _ => null,
        };

        TimelineEntry Step(string id, string text)
        {
            var step = run.Runbook.Steps.FirstOrDefault(s => s.Id == id);
            return Line(TimelineKind.Step, run.Actor, $"{step?.Title ?? id}{(step?.Summary is { } summary ? $", {summary}" : "")}: {text}");
        }

        TimelineEntry Line(TimelineKind kind, string actor, string text) => new() { At = happened.At, Kind = kind, Actor = actor, Text = text };
    }

    private static string Word(RunPhase phase) => phase == RunPhase.RolledBack ? "rolled back" : phase.ToString().ToLowerInvariant();

    private static string Outage(JsonElement? report) =>
        report is { ValueKind: JsonValueKind.Object } data && data.TryGetProperty("outage_ms", out var ms) && ms.ValueKind == JsonValueKind.Number ? $"; writes stood still for {Took(ms.GetDouble())}" : "";

    private static string Took(double ms) => ms < 1000
        ? string.Create(CultureInfo.InvariantCulture, $"{ms:0} ms")
        : string.Create(CultureInfo.InvariantCulture, $"{ms / 1000:0.0} s");

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);
}
