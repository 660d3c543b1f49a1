using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using BuildRunner.Core.Policy;

namespace BuildRunner.Cli;

/// <summary>What was typed wrong, in one line each, and what was probably meant.</summary>
internal static class CliUsage
{
    public static IReadOnlyList<string> Explain(ParseResult parsed)
    {
        var command = parsed.CommandResult;
        var lines = parsed.UnmatchedTokens.Select(token => Unmatched(token, command)).ToList();
        foreach (var error in parsed.Errors)
        {
            if (parsed.UnmatchedTokens.Any(token => error.Message.Contains($"'{token}'", StringComparison.Ordinal)))
                continue; // said above, with what was meant
            if (Value(error.SymbolResult) is { } wrong)
                lines.Add(wrong);
            else if (command.Command.Subcommands.Count == 0 || error.SymbolResult is not CommandResult)
                lines.Add(error.Message);
            else if (lines.Count == 0)
                lines.Add($"`{PathOf(command)}` needs a command after it: {string.Join(", ", Visible(command.Command))}.");
        }
        return lines;
    }

    /// <summary>`br regions show`.</summary>
    public static string PathOf(SymbolResult result)
    {
        var names = new Stack<string>();
        for (SymbolResult? at = result; at is not null; at = at.Parent)
        {
            if (at is CommandResult { Command: not RootCommand } command)
                names.Push(command.Command.Name);
        }
        names.Push("br");
        return string.Join(' ', names);
    }

    public static IEnumerable<string> Words(Type type) => Enum.GetNames(type).Select(name => name.ToLowerInvariant());

    private static string Unmatched(string token, CommandResult command)
    {
        var path = PathOf(command);
        if (token.StartsWith('-'))
        {
            var name = token.Split('=', ':')[0];
            return $"`{path}` has no option {name}.{Meant(name, Options(command), "")}";
        }
        if (command.Command.Subcommands.Count > 0)
            return $"'{token}' is no command of `{path}`.{Meant(token, Visible(command.Command), $"{path} ") switch { "" => $" There are {string.Join(", ", Visible(command.Command))}.", var meant => meant }}";
        return $"`{path}` does not know what to do with '{token}'.";
    }

    private static string Meant(string word, IEnumerable<string> known, string before) => Nearest.To(word, known) is { } near ? $" Did you mean `{before}{near}`?" : "";

    private static IEnumerable<string> Visible(Command command) => command.Subcommands.Where(c => !c.Hidden).Select(c => c.Name);

    private static IEnumerable<string> Options(CommandResult command)
    {
        for (SymbolResult? at = command; at is not null; at = at.Parent)
        {
            if (at is not CommandResult result)
                continue;
            foreach (var option in result.Command.Options.Where(o => !o.Hidden && (o.Recursive || at == command) && o is not HelpOption))
            {
                yield return option.Name;
                foreach (var alias in option.Aliases.Where(a => a.StartsWith("--", StringComparison.Ordinal)))
                    yield return alias;
            }
        }
        yield return "--help";
    }

    private static string? Value(SymbolResult? result)
    {
        var option = result as OptionResult ?? (result as ArgumentResult)?.Parent as OptionResult;
        if (option is not { Tokens: [.., var token] })
            return null;
        var type = Nullable.GetUnderlyingType(option.Option.ValueType) ?? option.Option.ValueType;
        return type.IsEnum ? $"'{token.Value}' is no value of {option.Option.Name}; use {string.Join(", ", Words(type))}." : null;
    }
}
