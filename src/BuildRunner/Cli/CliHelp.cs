using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace BuildRunner.Cli;

/// <summary>`--help`: what a command is for, how it is written, and examples that work as they stand.</summary>
internal sealed class CliHelp : SynchronousCommandLineAction
{
    private static readonly (string Title, string[] Commands)[] Groups =
    [
        ("Look", ["status", "regions", "route", "performance", "slo", "diagnose", "advise", "events", "alerts", "incident"]),
        ("Act", ["dr", "backup", "cache", "canary", "scale", "runbook", "freeze", "load-test", "gate"]),
        ("Set up", ["dev", "config", "token", "login", "context", "doctor", "completion"]),
        ("Processes", ["server", "gateway", "agent", "guard"]),
    ];

    private static readonly Dictionary<string, string[]> Examples = new(StringComparer.Ordinal)
    {
        ["br"] = ["br", "br dev --detach", "br regions health --all", "br dr failover --dry-run --target us-west-1", "br route explain --ip 81.2.69.142 --path /api/orders --method GET"],
        ["br status"] = ["br", "br status --output json"],
        ["br regions"] = ["br regions health --all", "br regions show us-east-1", "br regions drain eu-west-1 --dry-run", "br regions weight eu-west-1 20% --reason \"new instances warm up\""],
        ["br regions health"] = ["br regions health --all", "br regions health --all --output json", "br regions health --watch", "br regions health --all --from eu-west-1"],
        ["br regions weight"] = ["br regions weight eu-west-1 20%", "br regions weight eu-west-1 100%"],
        ["br dev"] = ["br dev --detach", "br dev kill us-east-1", "br dev heal us-east-1", "br dev stop"],
        ["br dr"] = ["br dr status", "br dr failover --dry-run --target us-west-1", "br dr failover --target us-west-1 --reason \"us-east-1 is on fire\""],
        ["br events"] = ["br events list", "br events add \"Called the provider, ticket 4711\""],
        ["br token"] = ["br token create --role viewer --name wall-screen", "br token list"],
        ["br config"] = ["br config validate", "br config show --sources", "br config apply governance/policy.yml"],
        ["br freeze"] = ["br freeze --reason \"migration\" --until 2h"],
        ["br completion"] = ["source <(br completion bash)", "br completion zsh > \"${fpath[1]}/_br\"", "br completion fish > ~/.config/fish/completions/br.fish"],
    };

    public override int Invoke(ParseResult parseResult)
    {
        Write(Console.Out, parseResult.CommandResult.Command, CliUsage.PathOf(parseResult.CommandResult));
        return 0;
    }

    public static void Write(TextWriter writer, Command command, string path)
    {
        writer.WriteLine(command.Description);
        writer.WriteLine();
        var commands = command.Subcommands.Where(c => !c.Hidden).ToList();
        writer.WriteLine($"Usage: {path}{string.Concat(command.Arguments.Where(a => !a.Hidden).Select(a => $" {Shape(a)}"))}{(commands.Count == 0 ? "" : command is RootCommand ? " [<command>]" : " <command>")} [options]");

        if (command is RootCommand)
        {
            foreach (var (title, names) in Groups)
                Rows(writer, title, names.Select(n => commands.FirstOrDefault(c => c.Name == n)).OfType<Command>().Select(c => (c.Name, Summary(c))));
            Rows(writer, "More", commands.Where(c => !Groups.Any(g => g.Commands.Contains(c.Name))).Select(c => (c.Name, Summary(c))));
        }
        else
        {
            Rows(writer, "Commands", commands.Select(c => (string.Join(' ', [c.Name, .. c.Arguments.Where(a => !a.Hidden).Select(Shape)]), Summary(c))));
        }
        Rows(writer, "Arguments", command.Arguments.Where(a => !a.Hidden).Select(a => (Shape(a), a.Description ?? "")));
        if (command is not RootCommand)
            Rows(writer, "Options", command.Options.Where(o => !o.Hidden && o is not (HelpOption or VersionOption)).Select(Row));
        Rows(writer, "Options of every command", [Row(CliContext.Output), Row(CliContext.Server), Row(CliContext.TokenFile), Row(CliContext.NoColor), ("-h, --help", "This page"), .. command is RootCommand ? [("--version", "The version")] : Array.Empty<(string, string)>()]);
        if (Examples.TryGetValue(path, out var examples))
        {
            writer.WriteLine();
            writer.WriteLine("Examples:");
            foreach (var example in examples)
                writer.WriteLine($"  {example}");
        }
        if (command is RootCommand)
        {
            writer.WriteLine();
            writer.WriteLine("Exit codes: 0 fine · 1 failed · 2 wrong use · 3 server not reachable · 4 unhealthy or refused by a safety check · 5 not permitted · 6 timed out");
        }
    }

    private static void Rows(TextWriter writer, string title, IEnumerable<(string Name, string Summary)> rows)
    {
        var list = rows.ToList();
        if (list.Count == 0)
            return;
        var width = Math.Min(34, list.Max(r => r.Name.Length));
        writer.WriteLine();
        writer.WriteLine($"{title}:");
        foreach (var (name, summary) in list)
            writer.WriteLine($"  {name.PadRight(width)}  {summary}".TrimEnd());
    }

    private static (string, string) Row(Option option) => (
        $"{string.Concat(option.Aliases.Where(a => a.Length == 2).Select(a => $"{a}, "))}{option.Name}{Value(option)}{(option.Required ? " (required)" : "")}",
        option.Description ?? "");

    private static string Value(Option option)
    {
        var type = Nullable.GetUnderlyingType(option.ValueType) ?? option.ValueType;
        return type == typeof(bool) ? "" : type.IsEnum ? $" {string.Join('|', CliUsage.Words(type))}" : $" <{option.HelpName ?? option.Name.TrimStart('-')}>";
    }

    private static string Shape(Argument argument) => argument.Arity.MinimumNumberOfValues == 0 ? $"[<{argument.Name}>]" : $"<{argument.Name}>";

    private static string Summary(Command command) => command.Description ?? "";
}
