using System.Net;
using BuildRunner.Cli;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Recovery;
using BuildRunner.Dashboard;
using BuildRunner.Server.Access;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Routing;
using BuildRunner.Server.Recovery;
using BuildRunner.Server.Recovery.BreakGlass;
using BuildRunner.Server.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner;

/// <summary>What `br server` needs to start.</summary>
internal sealed record ServerRoleOptions
{
    public required string DataFolder { get; init; }

    /// <summary>The policy's file; null: `governance/policy.yml`, or BR_POLICY.</summary>
    public string? PolicyFile { get; init; }
    public required IPEndPoint Listen { get; init; }
    public string? SeedTokens { get; init; }

    /// <summary>Consent to listen on an address that others can reach, without encryption.</summary>
    public bool InsecureListen { get; init; }

    /// <summary>The region in which it stands; null: none, or it is not said.</summary>
    public string? Region { get; init; }

    /// <summary>It acts for a server that is gone; null: it is one of its own.</summary>
    public StandInOptions? StandIn { get; init; }

    /// <summary>Log lines to standard error too; the file `server.log` in the data folder has them in any case.</summary>
    public bool LogToTerminal { get; init; } = true;
}

/// <summary>The one place where the rooms of the server are put together.</summary>
internal static class ServerRole
{
    /// <summary>How long requests may finish at the end; long polls are cut at once.</summary>
    private static readonly TimeSpan StopMax = TimeSpan.FromSeconds(1.5);

    /// <summary>How long a server that finds a database's epoch in its store listens first whether anything was done without it.</summary>
    private static readonly TimeSpan ListenFirst = TimeSpan.FromSeconds(2);

    public static WebApplication Build(ServerRoleOptions options)
    {
        if (!IPAddress.IsLoopback(options.Listen.Address) && !options.InsecureListen)
        {
            throw new CliException(ExitCode.Usage, $"{options.Listen} can be reached from other machines, and what is sent there, tokens included, is not encrypted. "
                + "Listen on 127.0.0.1 behind a proxy that ends TLS, or consent with --insecure-listen.");
        }
        Directory.CreateDirectory(options.DataFolder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);

        // An empty builder: no configuration file of the working directory and no ASPNETCORE_ variable changes what the server does.
        var builder = WebApplication.CreateEmptyBuilder(new() { ApplicationName = "br", ContentRootPath = AppContext.BaseDirectory });
        var log = new LineLog(Path.Combine(options.DataFolder, "server.log"), options.LogToTerminal ? Console.Error : null);
        builder.Services.AddSingleton<ILoggerProvider>(_ => log); // by a factory: the container closes it, as the last
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 2 * 1024 * 1024;
            kestrel.Limits.MaxConcurrentConnections = 2000;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
            kestrel.Listen(options.Listen, listen => listen.Protocols = HttpProtocols.Http1);
        });

        var services = builder.Services;
        services.AddRoutingCore();
        services.Configure<HostOptions>(host =>
        {
            host.ShutdownTimeout = StopMax;
            host.ServicesStartConcurrently = false; // in the order below: tokens, then the right to lead, then loops
        });
        using (var logs = LoggerFactory.Create(factory => factory.AddProvider(new Borrowed(log))))
            services.AddStorage(options.DataFolder, logs);
        services.AddEvents();
        // The policy that hosts have saved is the effective one: nothing of this process's environment is laid over it again.
        services.AddPolicy(options.StandIn is null ? PolicyOptions.FromEnvironment(options.PolicyFile) : new PolicyOptions { File = options.PolicyFile!, Variables = new Dictionary<string, string>() });
        services.AddAccess(new AccessOptions { DataFolder = options.DataFolder, SeedTokens = options.SeedTokens, Hosts = HostsOf(options.Listen) });
        services.AddHosting(options.DataFolder, Network.FromEnvironment(), options.StandIn is null ? ListenFirst : TimeSpan.Zero, options.StandIn is { } stand ? stand.SeenToken + BreakGlass.TokenLead : 0);
        services.AddDatabases();
        services.AddRunbooks();
        services.AddRegions();
        services.AddTrafficRouting();
        services.AddAlerting(options.DataFolder);
        services.AddDashboard();
        services.AddRecovery(options.DataFolder, options.Region);
        if (options.StandIn is { } standIn)
            services.AddStandIn(standIn);

        var app = builder.Build();
        app.UseProblemAnswers();
        app.UseAccess();
        app.MapHosting();
        app.MapEvents();
        app.MapAccess();
        app.MapPolicy();
        app.MapDatabases();
        app.MapRunbooks();
        app.MapRegions();
        app.MapTrafficRouting();
        app.MapAlerting();
        app.MapDashboard();
        app.MapRecovery();
        return app;
    }

    public static async Task<ExitCode> RunAsync(ServerRoleOptions options, bool watchParent, CancellationToken cancel)
    {
        try
        {
            await using var app = Build(options);
            var life = app.Lifetime;
            using var interrupted = cancel.Register(life.StopApplication);
            if (watchParent)
                ParentWatch.Start(life.StopApplication);
            await app.StartAsync(CancellationToken.None);
            Console.Out.WriteLine($"br server {VersionAnswer.Running} is ready on {app.Urls.First()}, data in {options.DataFolder}");
            await app.WaitForShutdownAsync(CancellationToken.None);
            return ExitCode.Fine;
        }
        catch (StoreException error) { throw new CliException(ExitCode.Failed, error.Message); }
        catch (PolicyRefusedException error) { throw new CliException(ExitCode.Usage, error.Message); }
        catch (AccessException error) { throw new CliException(ExitCode.Usage, error.Message); }
        catch (IOException error) when (error.InnerException is Microsoft.AspNetCore.Connections.AddressInUseException)
        {
            throw new CliException(ExitCode.Failed, $"{options.Listen} is taken by another process (`ss -ltnp` names it). End it, or choose another address with --listen.");
        }
    }

    /// <summary>An address given with --listen is a name of the server; 0.0.0.0 stands for all of the machine's.</summary>
    private static string[] HostsOf(IPEndPoint listen) =>
        listen.Address.Equals(IPAddress.Any) || listen.Address.Equals(IPAddress.IPv6Any)
            ? [Dns.GetHostName(), .. Dns.GetHostAddresses(Dns.GetHostName()).Select(address => address.ToString())]
            : [listen.Address.ToString()];

    /// <summary>A provider whose owner is somebody else.</summary>
    private sealed class Borrowed(ILoggerProvider owner) : ILoggerProvider
    {
        public ILogger CreateLogger(string categoryName) => owner.CreateLogger(categoryName);

        public void Dispose() { }
    }
}
