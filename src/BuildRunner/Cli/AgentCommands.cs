using System.CommandLine;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Cli;

/// <summary>`br agent` and the help of `br guard`, which Program runs before there is a command line.</summary>
internal static class AgentCommands
{
    public static Command Agent()
    {
        var region = new Option<string>("--region") { Description = "Code of the region that this host stands in", Required = true };
        var data = new Option<string>("--data") { Description = "Folder of the agent and of PostgreSQL's data", Required = true };
        var host = new Option<string>("--host") { Description = "Address of this host as its own region reaches it", Required = true };
        var port = new Option<int>("--database-port") { Description = "PostgreSQL's port; absent: no database here" };
        var peer = new Option<int?>("--peer-port") { Description = "Port on which other regions' agents reach this one when the server is silent (default: the database's port and 1; 0: none)" };
        var secrets = new Option<string?>("--secrets") { Description = "Folder with the files `replication` and `app` (passwords, mode 0600)" };
        var adopt = new Option<string?>("--adopt") { Description = "Data directory of a PostgreSQL that runs already and is to become this region's; `br dr adopt` restarts it once, and until then it is only looked at", HelpName = "folder" };
        var programs = new Option<string?>("--postgres-bin") { Description = "Folder of PostgreSQL's programs (default: Debian's of version 15, else the newest, else PATH)", HelpName = "folder" };
        var buffers = new Option<string>("--shared-buffers") { Description = "PostgreSQL's shared_buffers", DefaultValueFactory = _ => "128MB" };
        var watch = new Option<bool>("--watch-stdin") { Description = "End when standard input is closed" };
        var command = new Command("agent", "Runs on a region's host: drives its PostgreSQL and its application instances") { region, data, host, port, peer, secrets, adopt, programs, buffers, watch };
        return command.Does(async context =>
        {
            var parse = context.Parse;
            var options = new AgentOptions
            {
                Region = parse.GetRequiredValue(region),
                DataFolder = Path.GetFullPath(parse.GetRequiredValue(data)),
                Server = new Uri(parse.GetValue(CliContext.Server) ?? throw new CliException(ExitCode.Usage, "The agent needs --server, such as http://127.0.0.1:8400.")),
                TokenFile = parse.GetValue(CliContext.TokenFile) ?? throw new CliException(ExitCode.Usage, "The agent needs --token-file, a file with its token."),
                Host = parse.GetRequiredValue(host),
                DatabasePort = parse.GetValue(port),
                PeerPort = parse.GetValue(peer) ?? (parse.GetValue(port) is > 0 and var database ? database + 1 : 0),
                SecretsFolder = parse.GetValue(secrets),
                SharedBuffers = parse.GetRequiredValue(buffers),
                Adopt = parse.GetValue(adopt) is { } folder ? Path.GetFullPath(folder) : null,
            };
            if (parse.GetValue(programs) is { } bin)
                options = options with { Binaries = Path.GetFullPath(bin) };
            if (options is { Adopt: not null, DatabasePort: 0 })
                throw new CliException(ExitCode.Usage, "--adopt needs --database-port, the port on which that PostgreSQL listens.");
            Directory.CreateDirectory(options.DataFolder);
            var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
            builder.Logging.AddProvider(new LineLog(Path.Combine(options.DataFolder, "agent.log"), Console.Error));
            builder.Services.AddAgent(options, Network.FromEnvironment());
            builder.Services.Configure<HostOptions>(h => h.ShutdownTimeout = TimeSpan.FromSeconds(4));
            using var app = builder.Build();
            if (parse.GetValue(watch))
                ParentWatch.Start(app.Services.GetRequiredService<IHostApplicationLifetime>().StopApplication);
            await app.RunAsync(CancellationToken.None);
            return ExitCode.Fine;
        });
    }

    /// <summary>Only for `br guard --help`.</summary>
    public static Command Guard() => new("guard", "Parent of one PostgreSQL, started by the agent; ends every process of it when told, when its lifeline closes, or when it ends itself");
}
