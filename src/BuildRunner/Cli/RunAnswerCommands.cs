using System.CommandLine;
using BuildRunner.Client.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>What people say to a run that waits for them: `br runbook approve`, `reject`, `confirm`.</summary>
internal static class RunAnswerCommands
{
    private static readonly Argument<string> Run = new("run") { Description = "A run's id (`br runbook status`)" };
    private static readonly Option<string?> Step = new("--step") { Description = "The step; needed when several wait", HelpName = "id" };

    public static Command Approve()
    {
        var note = new Option<string?>("--note") { Description = "Kept with the approval", HelpName = "text" };
        return new Command("approve", "Agree to a step that a run waits at; a person counts once") { Run, Step, note }.Does(context =>
            AnswerAsync(context, context.Parse.GetValue(note), static (client, run, answer, cancel) => client.ApproveAsync(run, answer, cancel), "You agreed"));
    }

    public static Command Reject()
    {
        var reason = new Option<string?>("--reason") { Description = "Why; required, and kept with the run", HelpName = "text" };
        return new Command("reject", "Say no to a step that a run waits at; the step counts as refused") { Run, Step, reason }.Does(context =>
            AnswerAsync(context, context.Parse.GetValue(reason), static (client, run, answer, cancel) => client.RejectAsync(run, answer, cancel), "You said no"));
    }

    public static Command Confirm()
    {
        var note = new Option<string?>("--note") { Description = "What was done or seen; required, and kept with the run", HelpName = "text" };
        return new Command("confirm", "Say that a step has been done by hand") { Run, Step, note }.Does(context =>
            AnswerAsync(context, context.Parse.GetValue(note), static (client, run, answer, cancel) => client.ConfirmAsync(run, answer, cancel), "You confirmed it"));
    }

    private static async Task<ExitCode> AnswerAsync(CliContext context, string? text, Func<RunbooksClient, string, ReplyRequest, CancellationToken, Task<RunDetail>> ask, string said)
    {
        var id = context.Parse.GetRequiredValue(Run);
        var detail = await ask(new RunbooksClient(context.Api()), id, new ReplyRequest { Step = context.Parse.GetValue(Step), Note = text }, context.Cancel);
        context.Print(detail, RunbooksJson.Default.RunDetail, (console, data) => RunTables.Run(console, data.Run));
        context.Talk.WriteLine($"{said}. {(detail.Run.Waiting.Count > 0 ? "The run waits on." : $"The run goes on: br runbook status {id}")}");
        return ExitCode.Fine;
    }
}
