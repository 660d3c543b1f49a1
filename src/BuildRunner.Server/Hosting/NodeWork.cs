using System.Text.Json;
using BuildRunner.Client.Hosting;

namespace BuildRunner.Server.Hosting;

/// <summary>What a gateway or an agent does with what the server tells it.</summary>
public interface INodeWork
{
    /// <summary>Version of the document in force (also one read from disk at the start); 0: none.</summary>
    long DocumentVersion { get; }

    /// <summary>Puts a newer document in force; called for one document at a time, and the next poll waits for it: what takes long belongs into a loop. What it throws is logged, and the document comes again with the next poll.</summary>
    Task ApplyAsync(long version, JsonElement document, CancellationToken cancel);

    /// <summary>
    /// Carries out an order; called for several at a time, never twice at once for one id. An order whose result (done or refused) was remembered
    /// is not seen again; one that failed is. What it throws becomes a failed result.
    /// </summary>
    Task<OrderResult> CarryOutAsync(Order order, CancellationToken cancel);

    /// <summary>The report as JSON in UTF-8, quoting the incarnation; null: nothing to report yet.</summary>
    byte[]? Report(string incarnation);
}

/// <summary>What a node needs to reach its server.</summary>
public sealed record NodeClientOptions
{
    public required NodeName Name { get; init; }
    public required Uri Server { get; init; }
    public required string Token { get; init; }

    /// <summary>Folder in which results of orders are remembered over a restart; null: only while the process runs.</summary>
    public string? MemoryFolder { get; init; }
    public TimeSpan ReportInterval { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>How long the server may hold back the answer to a poll.</summary>
    public TimeSpan PollWait { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How long past that, and for everything else, the server may take to answer.</summary>
    public TimeSpan AnswerMax { get; init; } = TimeSpan.FromSeconds(2);

    public override string ToString() => $"{Name} of {Server}";
}
