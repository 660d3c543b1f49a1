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
        RunSteps<StepState>? shown = null;
        await foreach (var line in client.FollowAsync(run, Patience, Away, _time, context.Cancel))
        {
            if (_away)
                Say("The server is back.");
            _away = false;
            if (line.Note is { } note)
                Say($"     {note.Text}");
            if (line.Event is not { } happened)
                continue;
            state = RunState.Apply(state, happened);
            var groups = Groups(state);
            if (StepOf(happened) is { } id && groups.First(g => g.Steps.Any(s => s.Step.Id == id)) is { } group && (shown?.Number, shown?.Title) != (group.Number, group.Title))
            {
                shown = group;
                Say(group.Number is { } number ? string.Create(CultureInfo.InvariantCulture, $"{number}/{groups.Count(g => g.Number is not null)} Executing: {group.Title}") : group.Title);
            }
            if (Sentence(happened, state) is { } text)
                Say($"     {text}");
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
        var grid = Empty();
        await context.Talk.Live(grid).StartAsync(async live =>
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
                grid = Empty();
                foreach (var group in Groups(state))
                {
                    grid.AddRow(
                        RunTables.Mark([.. group.Steps.Select(s => s.Status)]), Markup.Escape(group.Heading),
                        group.Steps.Any(s => s.Milliseconds is not null) ? RunTables.Time(group.Steps.Sum(s => s.Milliseconds ?? 0)) : "", Detail(group));
                }
                if (_away)
                    grid.AddRow("[yellow]…[/]", "[yellow]the server is away; trying again[/]", "", "");
                live.UpdateTarget(grid);
                live.Refresh();
            }
        });
        context.Talk.WriteLine();

        static Grid Empty() => new Grid()
            .AddColumn(new GridColumn().NoWrap().PadLeft(0).PadRight(1)).AddColumn(new GridColumn().NoWrap().PadLeft(0).PadRight(3))
            .AddColumn(new GridColumn().NoWrap().RightAligned().PadLeft(0).PadRight(3)).AddColumn(new GridColumn().PadLeft(0).PadRight(0));
    }

    private static IReadOnlyList<RunSteps<StepState>> Groups(RunState? state) =>
        state is null ? [] : RunSteps<StepState>.Of(state.Steps, s => s.Step.Title, s => s.Step.AfterResume);

    /// <summary>What went wrong, else what is being done, else what it was made of.</summary>
    private string Detail(RunSteps<StepState> group)
    {
        if (group.Steps.FirstOrDefault(s => s.Error is not null)?.Error is { } error)
            return $"[yellow]{Markup.Escape(error)}[/]";
        if (group.Steps.FirstOrDefault(s => s.Status == StepStatus.Running) is { } running)
            return $"[blue]{Markup.Escape(_note ?? running.Step.Summary ?? running.Step.Id)}[/]";
        if (group.Steps.FirstOrDefault(s => s.Status == StepStatus.Waiting) is { } waiting)
            return $"[yellow]{(RunReply.IsByHand(waiting) ? "done by hand, then: br runbook confirm …" : "br runbook approve …")} --step {Markup.Escape(waiting.Step.Id)}[/]";
        var parts = group.Steps.Where(s => s.Milliseconds is not null).Select(s => $"{s.Step.Id} {RunTables.Time(s.Milliseconds!.Value)}").ToList();
        return parts.Count > 1 ? $"[grey]{Markup.Escape(string.Join(" · ", parts))}[/]" : "";
    }

    private static string? StepOf(RunEvent happened) => happened switch
    {
        RunEvent.StepStarted e => e.Step,
        RunEvent.StepVerified e => e.Step,
        RunEvent.ApprovalRequested e => e.Step,
        RunEvent.ConfirmationRequested e => e.Step,
        _ => null,
    };

    internal static string? Sentence(RunEvent happened, RunState state)
    {
        string Name(string id) => state.Steps.FirstOrDefault(s => s.Step.Id == id)?.Step.Summary ?? id;
        return happened switch
        {
            RunEvent.StepFinished e => $"{Name(e.Step)}: {RunTables.Time(e.Milliseconds)}",
            RunEvent.StepFailed { Refused: true } e => $"{Name(e.Step)}: refused: {e.Error}",
            RunEvent.StepFailed e => $"{Name(e.Step)}: failed{(e.Unknown ? ", outcome unknown" : "")}: {e.Error}",
            RunEvent.StepVerified { Already: true } e => $"{Name(e.Step)}: is so already",
            RunEvent.StepVerified e => $"{Name(e.Step)}: looked, {(e.Already is null ? "cannot tell" : "not so yet")}{(e.Detail is { } detail ? $" ({detail})" : "")}",
            RunEvent.StepSkipped e => $"{Name(e.Step)}: skipped, {e.Why}",
            RunEvent.ApprovalRequested e => $"{Name(e.Step)}: waits for agreement: br runbook approve {state.Run} --step {e.Step}",
            RunEvent.Approved e => $"{Name(e.Step)}: {e.Actor} agrees{(e.Note is { } note ? $": {note}" : "")}",
            RunEvent.Rejected e => $"{Name(e.Step)}: {e.Actor} says no: {e.Reason}",
            RunEvent.ApprovalExpired e => $"{Name(e.Step)}: not enough people agreed in time",
            RunEvent.ConfirmationRequested e => $"{Name(e.Step)}: do this by hand: {StepArguments.Fill(state.Step(e.Step).Step.Manual ?? "", state.Inputs, state.Outputs)} Then: br runbook confirm {state.Run} --step {e.Step} --note \"…\"",
            RunEvent.Confirmed e => $"{Name(e.Step)}: {e.Actor} did it: {e.Note}",
            RunEvent.ConfirmationExpired e => $"{Name(e.Step)}: nobody confirmed it in time",
            RunEvent.UndoStarted e => $"{Name(e.Step)}: taking back",
            RunEvent.Undone e => $"{Name(e.Step)}: taken back",
            RunEvent.UndoFailed e => $"{Name(e.Step)}: could not be taken back: {e.Error}",
            RunEvent.AbortRequested e => $"abort asked for by {e.Actor}",
            RunEvent.Resumed e => $"taken up again by {e.Server}",
            _ => null,
        };
    }

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
