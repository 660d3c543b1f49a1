using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Bench;

/// <summary>A system that keeps a PostgreSQL writable, as its users have it.</summary>
internal interface IMeasuredSystem : IAsyncDisposable
{
    /// <summary>What decides its times, by the names that its documentation uses.</summary>
    IReadOnlyDictionary<string, string> SettingsInForce { get; }

    /// <summary>How often it looks; a fault comes at a random moment of it.</summary>
    TimeSpan Beat { get; }

    /// <summary>Returns when it takes writes and every copy follows.</summary>
    Task StartAsync(CancellationToken cancel);

    /// <summary>Waits until it takes writes, every copy follows, and nothing is under way.</summary>
    Task WellAsync(CancellationToken cancel);

    /// <summary>Host that takes writes now.</summary>
    Task<string> PrimaryAsync(CancellationToken cancel);

    /// <summary>The 20 ms writer, the way this system's users reach it; `ServedBy` of its records begins with a host's name.</summary>
    Writer StartWriter();

    /// <summary>Connections straight to whichever PostgreSQL takes writes.</summary>
    NpgsqlMultiHostDataSource Databases { get; }

    /// <summary>Moves the primary; what it said when it would not.</summary>
    Task<Handover> SwitchoverAsync(CancellationToken cancel);

    /// <summary>Processes that receive WAL on the copies.</summary>
    Task<IReadOnlyList<int>> ReceiversAsync(CancellationToken cancel);

    /// <summary>`kill -9` of everything on the host.</summary>
    Task LoseAsync(string host, CancellationToken cancel);

    /// <summary>Starts the host again.</summary>
    Task HealAsync(string host, CancellationToken cancel);

    /// <summary>Its logs, for a person who asks why a run went wrong.</summary>
    IReadOnlyList<string> Logs { get; }

    /// <summary>What it says was lost in its last failover, once the old primary is back; null: it does not say.</summary>
    Task<string?> ToldAsync(CancellationToken cancel);
}

/// <summary>How an asked-for move ended: the outage that the system itself reports, and why it did not move.</summary>
internal sealed record Handover(double? ReportedOutageMs, string? Refused);

/// <summary>A running writer, whatever it writes through.</summary>
internal sealed record Writer(Func<IReadOnlyList<OrderRecord>> Records, Func<Task<OrderReport>> StopAsync, Func<ValueTask> DisposeAsync)
{
    public static Writer Of(OrderWriter writer) => new(() => writer.Records, writer.StopAsync, writer.DisposeAsync);
    public static Writer Of(PacedWriter writer) => new(() => writer.Records, writer.StopAsync, writer.DisposeAsync);
}
