using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Storage;

public static class StorageRoom
{
    public const string FileName = "state.db";

    /// <summary>Opens the store now: a damaged or foreign file must end the start, before anything listens.</summary>
    public static IServiceCollection AddStorage(this IServiceCollection services, string folder, ILoggerFactory logs)
    {
        var store = SqliteStore.Open(Path.Combine(folder, FileName), TimeProvider.System, logs.CreateLogger<SqliteStore>());
        return services.AddSingleton<IStore>(_ => store); // made by a factory: the container closes it at the end
    }
}
