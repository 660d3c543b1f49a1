namespace BuildRunner.Bench;

/// <summary>One run of a case as the clients saw it. Times in milliseconds; null: not known.</summary>
internal sealed record BenchRun
{
    /// <summary>The longest time without an acknowledged write.</summary>
    public double? OutageMs { get; init; }

    /// <summary>The slowest write, answered well or not.</summary>
    public double? LongestMs { get; init; }
    public int Acknowledged { get; init; }

    /// <summary>Writes that were not acknowledged: refused, broken off or timed out.</summary>
    public int Failed { get; init; }

    /// <summary>What those writes were told, the most frequent first, at most five.</summary>
    public IReadOnlyDictionary<string, int> Failures { get; init; } = new Dictionary<string, int>();

    /// <summary>Turns on which nothing was sent, because too many writes were under way.</summary>
    public int Skipped { get; init; }

    /// <summary>Acknowledged rows that the surviving primary does not have.</summary>
    public int? Lost { get; init; }

    /// <summary>What the system says of the loss; null: nothing.</summary>
    public string? Told { get; init; }

    /// <summary>The outage that the system itself reports; null: it reports none.</summary>
    public double? ReportedOutageMs { get; init; }

    /// <summary>Transactions of the bulk load, and the longest of them; null: there was no load.</summary>
    public int? LoadTransactions { get; init; }
    public double? LoadLongestMs { get; init; }

    /// <summary>Host that took writes before, and after.</summary>
    public string? From { get; init; }
    public string? To { get; init; }

    /// <summary>Why the primary did not move, or what could not be measured; null: all went as it should.</summary>
    public string? Trouble { get; init; }
}
