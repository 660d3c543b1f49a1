using System.Text.Json;
using BuildRunner.Client;

namespace BuildRunner.Cli;

/// <summary>Where the server is and which token opens it: the options, then BR_SERVER and BR_TOKEN_FILE, then `.br/` here or in a folder above.</summary>
internal sealed record CliEndpoints(Uri Server, string TokenFile, string? Folder)
{
    public static CliEndpoints Find(string? server, string? tokenFile)
    {
        server ??= NotEmpty(Environment.GetEnvironmentVariable("BR_SERVER"));
        tokenFile ??= NotEmpty(Environment.GetEnvironmentVariable("BR_TOKEN_FILE"));
        var folder = Folders().FirstOrDefault(f => File.Exists(Path.Combine(f, "endpoints.json")));
        if (server is null && folder is not null)
        {
            using var endpoints = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "endpoints.json")));
            server = endpoints.RootElement.GetProperty("server").GetString();
        }
        if (server is not null && !Uri.TryCreate(server, UriKind.Absolute, out _))
            throw new CliException(ExitCode.Usage, $"'{server}' is not an address of a server; write it as http://127.0.0.1:8400.");
        return new(
            new Uri(server ?? "http://127.0.0.1:8400"),
            tokenFile ?? Path.Combine(folder ?? DefaultFolder(), "token"),
            folder);
    }

    public ApiConnection Connect()
    {
        if (!File.Exists(TokenFile))
            throw new CliException(ExitCode.ServerUnreachable, $"No token at {TokenFile} and no server known here. Start one with `./br dev --detach`, or name one with --server and --token-file (BR_SERVER, BR_TOKEN_FILE).");
        return ApiConnection.Create(Server, File.ReadAllText(TokenFile).Trim());
    }

    /// <summary>`BR_HOME`, then `.br` in this folder and every folder above it, then the user's own.</summary>
    private static IEnumerable<string> Folders()
    {
        if (NotEmpty(Environment.GetEnvironmentVariable("BR_HOME")) is { } home)
        {
            yield return home;
            yield break;
        }
        for (var at = new DirectoryInfo(Environment.CurrentDirectory); at is not null; at = at.Parent)
            yield return Path.Combine(at.FullName, ".br");
        yield return DefaultFolder();
    }

    private static string DefaultFolder() => Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.ApplicationData), "buildrunner");

    private static string? NotEmpty(string? text) => string.IsNullOrWhiteSpace(text) ? null : text;
}

/// <summary>An error that is a sentence for the user and an exit code.</summary>
internal sealed class CliException(ExitCode code, string message) : Exception(message)
{
    public ExitCode Code => code;
}
