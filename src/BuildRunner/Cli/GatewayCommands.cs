using System.CommandLine;
using BuildRunner.Server.Gateway;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Hosting.Geo;
using Microsoft.Extensions.Hosting;

namespace BuildRunner.Cli;

/// <summary>`br gateway`: takes users' traffic of a region.</summary>
internal static class GatewayCommands
{
    private static readonly Option<string> Region = new("--region") { Description = "Code of the region this gateway stands in", Required = true };
    private static readonly Option<DirectoryInfo> Data = new("--data") { Description = "Folder of the saved routing table", Required = true };
    private static readonly Option<string> Listen = new("--listen") { Description = "address:port for users", Required = true };
    private static readonly Option<FileInfo?> GeoCity = new("--geo-city") { Description = "City database in MaxMind's format; taken over again when it changes" };
    private static readonly Option<bool> WatchStdin = new("--watch-stdin") { Description = "End when standard input closes" };
    private static readonly Option<bool> NoInline = new("--no-inline") { Description = "Run requests on the thread pool instead of the sockets' own threads" };

    public static Command Build() =>
        new Command("gateway", "Room Gateway: take users' traffic of a region and send each request to the right one.") { Region, Data, Listen, GeoCity, WatchStdin, NoInline }
            .Does(async context =>
            {
                var endpoints = CliEndpoints.Find(context.Parse.GetValue(CliContext.Server), context.Parse.GetValue(CliContext.TokenFile));
                if (!File.Exists(endpoints.TokenFile))
                    throw new CliException(ExitCode.Usage, $"There is no token at {endpoints.TokenFile}; name the gateway's token with --token-file.");
                var listen = context.Parse.GetRequiredValue(Listen);
                if (!System.Net.IPEndPoint.TryParse(listen, out var end) || end.Port == 0 || !listen.Contains(':', StringComparison.Ordinal))
                    throw new CliException(ExitCode.Usage, $"'{listen}' is not an address to listen on; write it as 127.0.1.1:8080.");
                var data = context.Parse.GetRequiredValue(Data).FullName;
                Directory.CreateDirectory(data);
                using var log = new LineLog(Path.Combine(data, "gateway.log"), Console.Error);
                await using var app = GatewayRoom.Build(
                    new GatewayOptions
                    {
                        Region = context.Parse.GetRequiredValue(Region),
                        DataFolder = data,
                        Server = endpoints.Server,
                        TokenFile = endpoints.TokenFile,
                        Listen = listen,
                        GeoCityFile = context.Parse.GetValue(GeoCity)?.FullName ?? GeoReader.FileFromEnvironment,
                        WatchStdin = context.Parse.GetValue(WatchStdin),
                        Inline = !context.Parse.GetValue(NoInline),
                    },
                    Network.FromEnvironment(), log);
                try { await app.RunAsync(context.Cancel); }
                catch (IOException error) when (error.InnerException is Microsoft.AspNetCore.Connections.AddressInUseException)
                {
                    throw new CliException(ExitCode.Failed, $"{listen} is taken by another process; end it, or listen elsewhere with --listen.");
                }
                return ExitCode.Fine;
            });
}
