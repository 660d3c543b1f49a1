using BuildRunner.Client;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>Follows a run to its end and shows how it goes: drawn on a terminal, else a line for each thing that happened. All of it is talk.</summary>
internal sealed class RunProgress(CliContext context, RunbooksClient client)
{
    /// <summary>How long a server may be away before the command gives up watching; the run itself goes on.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    private readonly TimeProvider _time = TimeProvider.System;
    private string? _note;
    private bool _away;

    /// <summary>Starts a run; when the answer is lost on the way, finds the run that began. Null record: the plan of a dry run.</summary>
    public async Task<RunAnswer> StartAsync(RunRequest request)
    {
        var asked = DateTimeOffset.UtcNow;
        try { return await client.StartAsync(request, context.Cancel); }
        catch (ApiUnreachableException) when (!request.DryRun) { }
        catch (HttpRequestException) when (!request.DryRun) { }
        catch (IOException) when (!request.DryRun) { }

        context.Talk.MarkupLine("[yellow]The server went away before it answered; looking for the run when it is back.[/]");
        var runs = await PatientlyAsync(() => client.RunsAsync(context.Cancel));
        return runs.Runs.FirstOrDefault(r => r.Runbook == request.Runbook && r.Reason == request.Reason && r.StartedAt > asked.AddSeconds(-5)) is { } begun
            ? new RunAnswer { Run = begun }
            : throw new CliException(ExitCode.ServerUnreachable, "The server went away before the run began. Nothing was changed; give the command again.");
    }

    /// <summary>Watches until the run has ended, over restarts of the server, and answers its record.</summary>
    public async Task<RunRecord> FollowAsync(string run)
    {
        if (!Console.IsErrorRedirected && context.Talk.Profile.Capabilities.Ansi)
            await DrawAsync(run);
        else
            await LinesAsync(run);

        // The record follows the journal's last line; a server that ends between the two writes it when it is back.
        while (true)
        {
            var detail = await PatientlyAsync(() => client.RunAsync(run, context.Cancel));
            if (detail.Run.FinishedAt is not null)
                return detail.Run;
            await Task.Delay(Pause, _time, context.Cancel);
        }
    }

    private async Task LinesAsync(string run)
    {
        RunState? state = null;
        string? title = null;
        await foreach (var line in client.FollowAsync(run, Patience, Away, _time, context.Cancel))
        {
            if (_away)
                Say("The server is back.");
            _away = false;
            if (line.Note is { } note)
                Say($"    {note.Step}: {note.Text}");
            if (line.Event is not { } happened)
                continue;
            state = RunState.Apply(state, happened);
            if (happened is RunEvent.StepStarted or RunEvent.StepVerified && state.Steps.FirstOrDefault(s => s.Step.Id == StepOf(happened)) is { } step && step.Step.Title != title)
            {
                title = step.Step.Title;
                Say($"Executing: {title}");
            }
            if (Sentence(happened) is { } text)
                Say($"  {text}");
        }

        void Say(string text) => context.Talk.WriteLine(text);
        void Away(Exception error)
        {
            if (!_away)
                Say($"The server is away; trying again for {Patience.TotalSeconds:0} s. The run goes on when it is back.");
            _away = true;
        }
    }

    private async Task DrawAsync(string run)
    {
        RunState? state = null;
        var table = new Table().Border(TableBorder.None).HideHeaders().AddColumns("", "", "", "");
        await context.Talk.Live(table).StartAsync(async live =>
        {
            await foreach (var line in client.FollowAsync(run, Patience, _ => { _away = true; Draw(); }, _time, context.Cancel))
            {
                _away = false;
                if (line.Note is { } note)
                    _note = note.Text;
                if (line.Event is { } happened)
                {
                    state = RunState.Apply(state, happened);
                    if (happened is RunEvent.StepStarted)
                        _note = null;
                }
                Draw();
            }

            void Draw()
            {
                table.Rows.Clear();
                foreach (var group in Groups(state))
                    table.AddRow(Mark(group), Markup.Escape(group.Title), Took(group), Markup.Escape(Detail(group)));
                if (_away)
                    table.AddRow("[yellow]…[/]", "[yellow]the server is away; trying again[/]", "", "");
                live.Refresh();
            }
        });
    }

    /// <summary>Neighbouring steps of one title are one line.</summary>
    private static List<(string Title, List<StepState> Steps)> Groups(RunState? state)
    {
        var groups = new List<(string Title, List<StepState> Steps)>();
        foreach (var step in state?.Steps ?? [])
        {
            var title = step.Step.AfterResume ? $"{step.Step.Title} (settling)" : step.Step.Title;
            if (groups.Count == 0 || groups[^1].Title != title)
                groups.Add((title, []));
            groups[^1].Steps.Add(step);
        }
        return groups;
    }

    private static string Mark((string Title, List<StepState> Steps) group) => group.Steps switch
    {
        var s when s.Any(x => x.Status is StepStatus.Failed or StepStatus.UndoFailed) => "[red]✗[/]",
        var s when s.Any(x => x.Status is StepStatus.Undoing or StepStatus.Undone) => "[yellow]↶[/]",
        var s when s.All(x => x.Status == StepStatus.Done) => "[green]✓[/]",
        var s when s.Any(x => x.Status != StepStatus.Pending) => "[blue]●[/]",
        _ => "[grey]·[/]",
    };

    private static string Took((string Title, List<StepState> Steps) group) =>
        group.Steps.Any(s => s.Milliseconds is not null) ? string.Create(CultureInfo.InvariantCulture, $"[grey]{group.Steps.Sum(s => s.Milliseconds ?? 0):0} ms[/]") : "";

    private string Detail((string Title, List<StepState> Steps) group) =>
        group.Steps.FirstOrDefault(s => s.Error is not null)?.Error
        ?? (group.Steps.Any(s => s.Status == StepStatus.Running) ? _note ?? group.Steps.First(s => s.Status == StepStatus.Running).Step.Id : "");

    private static string? StepOf(RunEvent happened) => happened switch
    {
        RunEvent.StepStarted e => e.Step,
        RunEvent.StepVerified e => e.Step,
        _ => null,
    };

    internal static string? Sentence(RunEvent happened) => happened switch
    {
        RunEvent.StepFinished e => string.Create(CultureInfo.InvariantCulture, $"{e.Step}: done in {e.Milliseconds:0} ms"),
        RunEvent.StepFailed { Refused: true } e => $"{e.Step}: refused: {e.Error}",
        RunEvent.StepFailed e => $"{e.Step}: failed{(e.Unknown ? ", outcome unknown" : "")}: {e.Error}",
        RunEvent.StepVerified { Already: true } e => $"{e.Step}: is so already",
        RunEvent.StepVerified e => $"{e.Step}: looked, {(e.Already is null ? "cannot tell" : "not so yet")}{(e.Detail is { } detail ? $" ({detail})" : "")}",
        RunEvent.UndoStarted e => $"{e.Step}: taking back",
        RunEvent.Undone e => $"{e.Step}: taken back",
        RunEvent.UndoFailed e => $"{e.Step}: could not be taken back: {e.Error}",
        RunEvent.AbortRequested e => $"abort asked for by {e.Actor}",
        RunEvent.Resumed e => $"taken up again by {e.Server}",
        _ => null,
    };

    private async Task<T> PatientlyAsync<T>(Func<Task<T>> ask)
    {
        var since = _time.GetTimestamp();
        while (true)
        {
            try { return await ask(); }
            catch (Exception error) when (error is ApiUnreachableException or HttpRequestException or IOException && _time.GetElapsedTime(since) < Patience) { }
            catch (ApiException error) when (error.Status == System.Net.HttpStatusCode.ServiceUnavailable && _time.GetElapsedTime(since) < Patience) { }
            await Task.Delay(Pause, _time, context.Cancel);
        }
    }
}
