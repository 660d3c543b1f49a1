using System.CommandLine;
using System.CommandLine.Help;
using System.Net;
using BuildRunner.Client;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>The command line: one tree of commands, one way to run them, one way to fail.</summary>
internal static class CliApp
{
    private static readonly HelpOption Help = new() { Recursive = true, Action = new CliHelp() };

    public static async Task<int> RunAsync(string[] args)
    {
        var root = Build();
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0 && parsed.GetResult(Help) is null)
        {
            foreach (var line in CliUsage.Explain(parsed))
                await Console.Error.WriteLineAsync($"br: {line}");
            await Console.Error.WriteLineAsync($"See `{CliUsage.PathOf(parsed.CommandResult)} --help`.");
            return (int)ExitCode.Usage;
        }
        return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = TimeSpan.FromSeconds(20) });
    }

    public static RootCommand Build()
    {
        var root = new RootCommand("BuildRunner: sends user traffic to the right region and carries an application and its PostgreSQL through the loss of one.")
        {
            CliContext.Output,
            CliContext.Server,
            CliContext.TokenFile,
            CliContext.NoColor,
        };
        root.Options.Remove(root.Options.First(o => o is HelpOption));
        root.Add(Help);
        foreach (var command in Commands.All())
            root.Add(command);
        root.Does(StatusCommand.RunAsync);
        return root;
    }

    /// <summary>Makes a command's action: builds the context, runs, and turns what went wrong into a sentence and an exit code.</summary>
    public static Command Does(this Command command, Func<CliContext, Task<ExitCode>> action)
    {
        command.SetAction(async (parse, cancel) =>
        {
            var plain = parse.GetValue(CliContext.NoColor) || !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));
            var context = new CliContext
            {
                Parse = parse,
                Cancel = cancel,
                Out = Terminal(Console.Out, plain || Console.IsOutputRedirected),
                Talk = Terminal(Console.Error, plain || Console.IsErrorRedirected),
            };
            try { return (int)await action(context); }
            catch (CliException error) { return Fail(error.Code, error.Message); }
            catch (ApiUnreachableException error) { return Fail(ExitCode.ServerUnreachable, $"{error.Message} Is it running? `br dev status` tells; `./br dev --detach` starts one."); }
            catch (ApiException error)
            {
                foreach (var line in error.Problem.Errors ?? [])
                    await Console.Error.WriteLineAsync($"  {line}");
                return Fail(CodeOf(error), error.Message);
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested) { return (int)ExitCode.Interrupted; }
        });
        return command;
    }

    private static ExitCode CodeOf(ApiException error) => error.Problem.ExitCode is { } code ? (ExitCode)code : error.Status switch
    {
        HttpStatusCode.BadRequest or HttpStatusCode.UnprocessableEntity or HttpStatusCode.NotFound => ExitCode.Usage,
        HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => ExitCode.NotPermitted,
        HttpStatusCode.Conflict or HttpStatusCode.PreconditionFailed => ExitCode.Refused,
        HttpStatusCode.RequestTimeout or HttpStatusCode.GatewayTimeout => ExitCode.TimedOut,
        HttpStatusCode.ServiceUnavailable => ExitCode.ServerUnreachable,
        _ => ExitCode.Failed,
    };

    private static int Fail(ExitCode code, string message)
    {
        Console.Error.WriteLine($"br: {message}");
        return (int)code;
    }

    private static IAnsiConsole Terminal(TextWriter writer, bool plain)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(writer),
            Ansi = plain ? AnsiSupport.No : AnsiSupport.Detect,
            ColorSystem = plain ? ColorSystemSupport.NoColors : ColorSystemSupport.Detect,
        });
        // Into a file or a pipe a line is a line: whoever reads it wraps it, or searches it.
        if (writer == Console.Out ? Console.IsOutputRedirected : Console.IsErrorRedirected)
            console.Profile.Width = 4000;
        return console;
    }
}
