using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Npgsql;

namespace BuildRunner.Application;

/// <summary>The door of the library: three calls make an ASP.NET application a citizen of BuildRunner.</summary>
public static class BuildRunnerApplication
{
    /// <summary>Adds <see cref="WriteAddressSource"/>, <see cref="ApplicationDatabase"/>, <see cref="Writes"/> and <see cref="ApplicationHealth"/>.</summary>
    public static IServiceCollection AddBuildRunner(this IServiceCollection services, BuildRunnerApplicationOptions options)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton<WriteAddressSource>();
        services.AddHostedService(provider => provider.GetRequiredService<WriteAddressSource>());
        services.AddSingleton<ApplicationDatabase>();
        services.AddSingleton<Writes>();
        services.AddSingleton<ApplicationHealth>();
        services.AddSingleton<VerifyEndpoints>();
        return services;
    }

    /// <summary>Something that makes the first requests as fast as the later ones; `GET /br/warm` runs it, several times if asked.</summary>
    public static IServiceCollection AddWarmer(this IServiceCollection services, string name, Func<IServiceProvider, CancellationToken, Task> warm) =>
        services.AddSingleton(provider => new Warmer(name, cancel => warm(provider, cancel)));

    /// <summary>Refuses requests of another epoch and stamps answers. Goes before whatever touches data.</summary>
    public static IApplicationBuilder UseBuildRunner(this IApplicationBuilder app) => app.UseMiddleware<EpochMiddleware>();

    /// <summary>Maps `/br/verify`, `/br/warm`, `/healthz` and `/readyz`.</summary>
    public static void MapBuildRunner(this IEndpointRouteBuilder app)
    {
        var health = app.ServiceProvider.GetRequiredService<ApplicationHealth>();
        RequestDelegate healthz = context => health.AnswerAsync(context, ready: false);
        RequestDelegate readyz = context => health.AnswerAsync(context, ready: true);
        app.MapGet("/healthz", healthz);
        app.MapGet("/readyz", readyz);

        var endpoints = app.ServiceProvider.GetRequiredService<VerifyEndpoints>();
        RequestDelegate write = endpoints.WriteAsync, read = endpoints.ReadAsync, warm = endpoints.WarmAsync;
        app.MapPost("/br/verify", write);
        app.MapGet("/br/verify", read);
        app.MapGet("/br/warm", warm);
    }

    /// <summary>A check that this host's copy, or failing that the primary, answers a query.</summary>
    public static HealthProbe ReadsAnswer(this ApplicationDatabase database) => async cancel =>
    {
        try
        {
            return await database.ReadAsync(async (connection, token) =>
            {
                await using var command = new NpgsqlCommand("SELECT 1", connection);
                await command.ExecuteScalarAsync(token);
                return (string?)null;
            }, cancel);
        }
        catch (DatabaseUnreachableException error) { return error.Message; }
    };

    /// <summary>A check that the agent of this host has said where the database is.</summary>
    public static HealthProbe IsKnown(this WriteAddressSource addresses) =>
        _ => Task.FromResult(addresses.Current.Epoch is null ? "the agent's address file has not been read yet" : null);
}

internal sealed record Warmer(string Name, Func<CancellationToken, Task> Warm);
