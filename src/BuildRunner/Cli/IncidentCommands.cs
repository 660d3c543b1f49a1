using System.CommandLine;
using BuildRunner.Client.Alerting;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br incident`: trouble, who looks after it, and what came of it (room Alerting).</summary>
internal static class IncidentCommands
{
    private static readonly Argument<string> Id = new("id") { Description = "The incident; `br incident list` shows them" };

    public static Command Build() => new("incident", "Trouble: who looks after it, its timeline, and the post-mortem (room Alerting)")
    {
        List(),
        Show(),
        Acknowledge(),
        Note(),
        Mitigate(),
        Resolve(),
        PostMortem(),
        Action(),
    };

    private static Command List()
    {
        var open = new Option<bool>("--open") { Description = "Only those that are not over" };
        var limit = new Option<int>("--limit", "-n") { Description = "How many, 1 to 200", DefaultValueFactory = _ => 50 };
        return new Command("list", "The newest incidents, the newest first") { open, limit }.Does(async context =>
        {
            var list = await new AlertingClient(context.Api()).ListAsync(context.Parse.GetValue(open), context.Parse.GetValue(limit), context.Cancel);
            context.Print(list, AlertingJson.Default.IncidentList, IncidentTables.List);
            return ExitCode.Fine;
        });
    }

    private static Command Show() => new Command("show", "An incident and its timeline") { Id }.Does(async context =>
        Print(context, await new AlertingClient(context.Api()).ShowAsync(IdOf(context), context.Cancel)));

    private static Command Acknowledge()
    {
        var text = Words();
        return new Command("ack", "You look after it: nobody else needs to") { Id, text }.Does(async context =>
            Changed(context, await new AlertingClient(context.Api()).AcknowledgeAsync(IdOf(context), Text(context, text), context.Cancel)));
    }

    private static Command Note()
    {
        var text = new Argument<string[]>("text") { Description = "What you saw or did", Arity = ArgumentArity.OneOrMore };
        return new Command("note", "Write a line on the timeline") { Id, text }.Does(async context =>
        {
            var detail = await new AlertingClient(context.Api()).NoteAsync(IdOf(context), Text(context, text)!, context.Cancel);
            context.Print(detail, AlertingJson.Default.IncidentDetail, (console, data) => console.WriteLine($"Noted on {data.Incident.Id}."));
            return ExitCode.Fine;
        });
    }

    private static Command Mitigate()
    {
        var text = Words();
        return new Command("mitigate", "Users are no longer hurt; what remains is work in peace") { Id, text }.Does(async context =>
            Changed(context, await new AlertingClient(context.Api()).MitigateAsync(IdOf(context), Text(context, text), context.Cancel)));
    }

    private static Command Resolve()
    {
        var text = Words();
        var force = new Option<bool>("--force") { Description = "Although its alert still fires; what fires on opens a new incident" };
        return new Command("resolve", "It is over") { Id, text, force }.Does(async context =>
            Changed(context, await new AlertingClient(context.Api()).ResolveAsync(IdOf(context), new IncidentResolution { Text = Text(context, text), Force = context.Parse.GetValue(force) }, context.Cancel)));
    }

    private static Command PostMortem()
    {
        var file = new Option<string?>("--out") { Description = "File to write; an existing one is not overwritten", HelpName = "file" };
        return new Command("postmortem", "The document after it, in Markdown: what is known filled in, the rest to write") { Id, file }.Does(async context =>
        {
            var document = await new AlertingClient(context.Api()).PostMortemAsync(IdOf(context), context.Cancel);
            if (context.Parse.GetValue(file) is not { Length: > 0 } path)
            {
                context.Print(document, AlertingJson.Default.PostMortemDocument, (_, data) => Console.Out.Write(data.Markdown));
                return ExitCode.Fine;
            }
            try
            {
                await using var stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write);
                await using var writer = new StreamWriter(stream);
                await writer.WriteAsync(document.Markdown.AsMemory(), context.Cancel);
            }
            catch (IOException) when (File.Exists(path)) { throw new CliException(ExitCode.Usage, $"{path} is there already, and somebody may have written in it. Name another file, or remove it first."); }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException) { throw new CliException(ExitCode.Failed, $"{path} could not be written: {error.Message}"); }
            context.Print(document, AlertingJson.Default.PostMortemDocument, (console, data) => console.WriteLine($"Post-mortem of {data.Incident} written to {path}."));
            return ExitCode.Fine;
        });
    }

    private static Command Action() => new("action", "What shall be done so that it does not happen again") { AddAction(), FinishAction() };

    private static Command AddAction()
    {
        var owner = new Option<string>("--owner") { Description = "Who does it", Required = true, HelpName = "name" };
        var due = new Option<string>("--due") { Description = "Until when: 2026-12-24, or 14 days", Required = true, HelpName = "date" };
        var text = new Argument<string[]>("text") { Description = "What", Arity = ArgumentArity.OneOrMore };
        return new Command("add", "Add an action with an owner and a date") { Id, text, owner, due }.Does(async context => Changed(context, await new AlertingClient(context.Api()).AddActionAsync(
            IdOf(context),
            new IncidentActionOrder { Text = Text(context, text)!, Owner = context.Parse.GetRequiredValue(owner), Due = Due(context.Parse.GetRequiredValue(due), DateTimeOffset.UtcNow) }, context.Cancel)));
    }

    private static Command FinishAction()
    {
        var number = new Argument<int>("number") { Description = "The action's number" };
        return new Command("done", "An action is done") { Id, number }.Does(async context =>
            Changed(context, await new AlertingClient(context.Api()).FinishActionAsync(IdOf(context), context.Parse.GetValue(number), context.Cancel)));
    }

    /// <summary>A day, or how long from now.</summary>
    internal static DateOnly Due(string text, DateTimeOffset now)
    {
        if (DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day))
            return day;
        return Units.TryDuration(text, out var duration, out _, out _) && duration > TimeSpan.Zero && duration < TimeSpan.FromDays(4000)
            ? DateOnly.FromDateTime((now + duration).UtcDateTime)
            : throw new CliException(ExitCode.Usage, $"'{text}' is neither a day nor a duration: write 2026-12-24 or 14 days.");
    }

    private static Argument<string[]> Words() => new("text") { Description = "A word on it, for the timeline", Arity = ArgumentArity.ZeroOrMore };

    private static string IdOf(CliContext context) => context.Parse.GetRequiredValue(Id);

    private static string? Text(CliContext context, Argument<string[]> text) => context.Parse.GetValue(text) is { Length: > 0 } words ? string.Join(' ', words) : null;

    private static ExitCode Print(CliContext context, IncidentDetail detail)
    {
        context.Print(detail, AlertingJson.Default.IncidentDetail, IncidentTables.Show);
        return ExitCode.Fine;
    }

    private static ExitCode Changed(CliContext context, IncidentDetail detail)
    {
        context.Print(detail, AlertingJson.Default.IncidentDetail, (console, data) => console.WriteLine($"{data.Incident.Id} is {Core.Alerting.PostMortem.Word(data.Incident.State)}. {data.Timeline.LastOrDefault(l => l.Kind is TimelineKind.State or TimelineKind.Action)?.Text}"));
        return ExitCode.Fine;
    }
}
