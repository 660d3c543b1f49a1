using BuildRunner.Core.Recovery;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Server.Runbooks;

/// <summary>
/// Something that a room knows and that recovery depends on: the age of backups, the last drill, work left over from an incident. It stands here so that
/// every room below can register one (`services.AddReadinessSource&lt;T&gt;()`); the room Recovery asks all of them at each evaluation.
/// </summary>
public interface IReadinessSource
{
    /// <summary>`backups`, `drills`, `post-mortems`: a source of the first two names replaces the finding that nothing has been recorded.</summary>
    string Name { get; }

    /// <summary>What stands against recovering tonight; empty: all is well. Changes nothing, and answers within 5 s.</summary>
    Task<IReadOnlyList<ReadinessFinding>> ReadAsync(CancellationToken cancel);
}

public static class ReadinessSources
{
    public static IServiceCollection AddReadinessSource<T>(this IServiceCollection services) where T : class, IReadinessSource =>
        services.AddSingleton<IReadinessSource, T>();
}
