using System.Net;
using BuildRunner.Application;

namespace Shop;

/// <summary>One executable, four services; which one an instance is decides what it maps.</summary>
internal static class ShopApplication
{
    public static WebApplication Build(ShopOptions options)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "shop" });
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 64 * 1024;
            kestrel.Listen(IPAddress.Parse(options.Host), options.Port);
        });
        builder.Logging.AddSimpleConsole(console => console.SingleLine = true).SetMinimumLevel(LogLevel.Information).AddFilter("Microsoft", LogLevel.Warning);

        var services = builder.Services;
        services.AddRoutingCore();
        services.AddSingleton(options);
        services.AddBuildRunner(new BuildRunnerApplicationOptions { AddressFile = options.AddressFile, ApplicationName = $"shop-{options.Instance}" });
        services.AddSingleton<Behaviour>();
        services.AddSingleton<Admission>();
        services.AddSingleton<Schema>();
        services.AddHostedService(provider => provider.GetRequiredService<Schema>());
        services.AddSingleton<Catalogue>();
        services.AddWarmer("catalogue", (provider, cancel) => provider.GetRequiredService<Catalogue>().WarmAsync(cancel));
        if (options.Service == "worker")
            services.AddSingleton<Packing>().AddHostedService(provider => provider.GetRequiredService<Packing>());
        services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(10));

        var app = builder.Build();
        AddChecks(app.Services);
        app.Use(new Edge(options).InvokeAsync);
        app.Use(app.Services.GetRequiredService<Admission>().InvokeAsync);
        app.UseBuildRunner();
        app.Use(app.Services.GetRequiredService<Behaviour>().InvokeAsync);
        app.MapBuildRunner();
        Map(app, options.Service);
        return app;
    }

    private static void Map(WebApplication app, string service)
    {
        switch (service)
        {
            case "api":
                ActivatorUtilities.CreateInstance<ProductEndpoints>(app.Services).Map(app);
                ActivatorUtilities.CreateInstance<OrderEndpoints>(app.Services).Map(app);
                ActivatorUtilities.CreateInstance<AccountEndpoint>(app.Services).Map(app);
                break;
            case "reports":
                ActivatorUtilities.CreateInstance<ReportEndpoints>(app.Services).Map(app);
                break;
            case "web":
                ActivatorUtilities.CreateInstance<Storefront>(app.Services).Map(app);
                break;
            case "worker":
                app.Services.GetRequiredService<Packing>().Map(app);
                break;
        }
    }

    /// <summary>Every service reads the database; none of them is of use without it and its tables.</summary>
    private static void AddChecks(IServiceProvider services)
    {
        var addresses = services.GetRequiredService<WriteAddressSource>();
        var schema = services.GetRequiredService<Schema>();
        services.GetRequiredService<ApplicationHealth>()
            .Check("address", HealthNeed.ToServe, addresses.IsKnown())
            .Check("database", HealthNeed.ToServe, services.GetRequiredService<ApplicationDatabase>().ReadsAnswer())
            .Check("schema", HealthNeed.ToServe, _ => Task.FromResult(schema.Missing));
    }
}
