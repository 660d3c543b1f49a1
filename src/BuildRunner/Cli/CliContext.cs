using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BuildRunner.Client;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>What every command gets: where the server is, how to print, and one place where an error becomes a sentence and an exit code.</summary>
internal sealed class CliContext
{
    public static readonly Option<OutputForm> Output = new("--output", "-o") { Description = "table, json or yaml", Recursive = true, DefaultValueFactory = _ => OutputForm.Table };
    public static readonly Option<string?> Server = new("--server") { Description = "Address of the server (default: BR_SERVER, then .br/endpoints.json)", Recursive = true };
    public static readonly Option<string?> TokenFile = new("--token-file") { Description = "File that holds the token (default: BR_TOKEN_FILE, then .br/token)", Recursive = true };
    public static readonly Option<bool> NoColor = new("--no-color") { Description = "No colours (also NO_COLOR)", Recursive = true };

    public required ParseResult Parse { get; init; }
    public required CancellationToken Cancel { get; init; }

    /// <summary>Data.</summary>
    public required IAnsiConsole Out { get; init; }

    /// <summary>Talk: progress, hints, errors.</summary>
    public required IAnsiConsole Talk { get; init; }

    public OutputForm Form => Parse.GetValue(Output);

    public ApiConnection Api() => CliEndpoints.Find(Parse.GetValue(Server), Parse.GetValue(TokenFile)).Connect();

    /// <summary>Prints data: as JSON or YAML whole, else by the command's own table.</summary>
    public void Print<T>(T data, JsonTypeInfo<T> type, Action<IAnsiConsole, T> table)
    {
        switch (Form)
        {
            case OutputForm.Json:
                Console.Out.WriteLine(JsonSerializer.Serialize(JsonSerializer.SerializeToNode(data, type), CliJson.Indented));
                break;
            case OutputForm.Yaml:
                Console.Out.Write(CliYaml.Write(JsonSerializer.SerializeToNode(data, type)));
                break;
            default:
                table(Out, data);
                break;
        }
    }
}

internal enum OutputForm
{
    Table,
    Json,
    Yaml,
}
