using System.Net;
using BuildRunner.Client.Hosting;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Hosting.Geo;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Yarp.ReverseProxy.Forwarder;

namespace BuildRunner.Server.Gateway;

/// <summary>Puts the gateway role together.</summary>
public static class GatewayRoom
{
    /// <summary>A gateway ready to run; it serves from its saved table until the server answers.</summary>
    public static WebApplication Build(GatewayOptions options, INetwork network, ILoggerProvider? log = null)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Logging.SetMinimumLevel(LogLevel.Information).AddFilter("Microsoft", LogLevel.Warning).AddFilter("Yarp", LogLevel.Error);
        if (log is not null)
            builder.Logging.AddProvider(log);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => Listen(kestrel, options));
        builder.WebHost.UseSockets(sockets => sockets.UnsafePreferInlineScheduling = options.Inline);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(3));
        AddGateway(builder.Services, options, network);

        var app = builder.Build();
        var table = app.Services.GetRequiredService<GatewayTable>();
        if (table.Load() is { } fault)
            app.Logger.LogWarning("{Fault}", fault);
        table.SaveFailed += error => app.Logger.LogWarning("The table could not be saved; without the server the next start would use an older one: {Reason}", error.Message);
        if (table.State is { } saved)
            app.Services.GetRequiredService<Prober>().Update(saved.Probes);
        app.Services.GetRequiredService<GatewaySignals>().ReportSoon = app.Services.GetRequiredService<NodeClient>().ReportNow;
        var pipeline = app.Services.GetRequiredService<GatewayPipeline>();
        app.Run(pipeline.InvokeAsync);
        if (options.WatchStdin)
            ParentWatch.Start(app.Lifetime.StopApplication);
        return app;
    }

    private static void AddGateway(IServiceCollection services, GatewayOptions options, INetwork network)
    {
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton(network);
        services.AddHttpForwarder();
        services.AddSingleton(all => new GatewayTable(options.DataFolder, all.GetRequiredService<TimeProvider>()));
        services.AddSingleton(all => new GeoReader(options.GeoCityFile, all.GetRequiredService<ILogger<GeoReader>>()));
        services.AddSingleton<IGeoReader>(all => all.GetRequiredService<GeoReader>());
        services.AddSingleton<Prober>();
        services.AddSingleton<TargetWatch>();
        services.AddSingleton<HoldGate>();
        services.AddSingleton<WriteLedger>();
        services.AddSingleton<ReadLedger>();
        services.AddSingleton<ReleasePace>();
        services.AddSingleton<TrafficCounts>();
        services.AddSingleton<GatewaySignals>();
        services.AddSingleton(all => new Origins(network, options.ConnectTimeout));
        services.AddSingleton(new GatewayAnswers(options.Region));
        services.AddSingleton(all => new OwnEndpoints(options.Region, all.GetRequiredService<GatewayTable>(), all.GetRequiredService<GatewayAnswers>(), all.GetRequiredService<GatewaySummons>()));
        services.AddSingleton(all => new GatewaySummons(
            options.Region, all.GetRequiredService<GatewayTable>(), all.GetRequiredService<ServerLine>(), all.GetRequiredService<TimeProvider>(), all.GetRequiredService<ILogger<GatewaySummons>>()));
        services.AddSingleton(all => new RequestReader(options.Region, all.GetRequiredService<IGeoReader>(), all.GetRequiredService<TargetWatch>()));
        services.AddSingleton(all => new Forwarding(options.Region, all.GetRequiredService<GatewayTable>(), all.GetRequiredService<IHttpForwarder>(), all.GetRequiredService<Origins>(), all.GetRequiredService<TargetWatch>()));
        services.AddSingleton<GatewayPipeline>();
        services.AddSingleton<ProbeOrders>();
        services.AddSingleton<INodeWork, GatewayWork>();
        services.AddSingleton(all => new NodeClientOptions
        {
            Name = new NodeName(NodeKind.Gateway, options.Region),
            Server = options.Server,
            Token = File.ReadAllText(options.TokenFile).Trim(),
            MemoryFolder = Path.Combine(options.DataFolder, "orders"),
        });
        services.AddSingleton<ServerLine>();
        services.AddSingleton<NodeClient>();
        services.AddHostedService(all => all.GetRequiredService<NodeClient>());
        services.AddHostedService<GeoReloadLoop>();
    }

    private static void Listen(KestrelServerOptions kestrel, GatewayOptions options)
    {
        kestrel.Listen(IPEndPoint.Parse(options.Listen), listen => listen.Protocols = HttpProtocols.Http1);
        kestrel.AddServerHeader = false;
        kestrel.AllowSynchronousIO = false;
        var limits = kestrel.Limits;
        limits.MaxRequestBodySize = options.BodyMax;
        limits.MaxConcurrentConnections = options.ConnectionsMax;
        limits.MaxConcurrentUpgradedConnections = options.ConnectionsMax;
        limits.RequestHeadersTimeout = TimeSpan.FromSeconds(15);
        limits.KeepAliveTimeout = TimeSpan.FromSeconds(75);
    }
}
