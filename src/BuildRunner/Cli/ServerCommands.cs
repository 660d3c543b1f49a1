using System.CommandLine;
using System.Net;

namespace BuildRunner.Cli;

/// <summary>`br server`: the process that keeps state and decides.</summary>
internal static class ServerCommands
{
    private static readonly Option<string> Data = new("--data") { Description = "Folder for the store, the administrator's token and the log", Required = true };
    private static readonly Option<string?> Policy = new("--policy") { Description = "The policy's file (default: BR_POLICY, then governance/policy.yml)" };
    private static readonly Option<string> Listen = new("--listen") { Description = "Address and port", DefaultValueFactory = _ => "127.0.0.1:8400" };
    private static readonly Option<string?> SeedTokens = new("--seed-tokens") { Description = "File (mode 0600) with hashes of tokens to know from the start" };
    private static readonly Option<bool> Insecure = new("--insecure-listen") { Description = "Consent to listen where other machines can reach the server, without encryption" };
    private static readonly Option<string?> Region = new("--region") { Description = "Region in which it stands: readiness says what is lost with it", HelpName = "region" };
    private static readonly Option<bool> WatchStdin = new("--watch-stdin") { Description = "End when standard input ends" };

    public static Command Build() =>
        new Command("server", "Run the server: state, decisions, runs, API and page (rooms Storage, Hosting, Access)") { Data, Policy, Listen, SeedTokens, Insecure, Region, WatchStdin, AdoptCommand.Build() }
            .Does(context =>
            {
                var options = context.Parse;
                return ServerRole.RunAsync(new ServerRoleOptions
                {
                    DataFolder = Path.GetFullPath(options.GetRequiredValue(Data)),
                    PolicyFile = options.GetValue(Policy),
                    Listen = EndPointOf(options.GetRequiredValue(Listen)),
                    SeedTokens = options.GetValue(SeedTokens),
                    InsecureListen = options.GetValue(Insecure),
                    Region = options.GetValue(Region),
                }, options.GetValue(WatchStdin), context.Cancel);
            });

    /// <summary>`127.0.0.1:8400`, `[::1]:8400` or `localhost:8400`.</summary>
    public static IPEndPoint EndPointOf(string text)
    {
        var given = text.StartsWith("localhost:", StringComparison.OrdinalIgnoreCase) ? "127.0.0.1" + text["localhost".Length..] : text;
        return given.LastIndexOf(':') is > 0 and var colon && colon > given.LastIndexOf(']') && (given[0] == '[' || given.IndexOf(':') == colon) && IPEndPoint.TryParse(given, out var endpoint)
            ? endpoint
            : throw new CliException(ExitCode.Usage, $"'{text}' is not an address and a port; write it as 127.0.0.1:8400 or [::1]:8400.");
    }
}
