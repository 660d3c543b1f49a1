namespace BuildRunner.Core.Recovery;

/// <summary>An authoritative server's answer.</summary>
/// <param name="Server">Who was asked.</param>
/// <param name="Values">What it answers for the name; empty: nothing; null: no answer came.</param>
/// <param name="Error">Why none came.</param>
public sealed record DnsReading(string Server, IReadOnlyList<string>? Values, string? Error = null)
{
    public bool Is(DnsRecord wanted) => Values is { } values && wanted.Is(values);

    public string Said => Values is { } values ? $"{Server} answers {DnsRecord.Said(values)}" : $"{Server}: {Error ?? "no answer"}";
}

/// <summary>What was last written for a name; kept in the store.</summary>
public sealed record DnsWritten
{
    public int SchemaVersion { get; init; } = 1;
    public required string Name { get; init; }
    public required IReadOnlyList<string> Values { get; init; }
    public required TimeSpan Ttl { get; init; }

    /// <summary>Driver that wrote it.</summary>
    public required string Driver { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>When every authoritative server was first seen to answer it; null: not yet.</summary>
    public DateTimeOffset? SettledAt { get; init; }
}

/// <summary>What to do about a name now.</summary>
public abstract record DnsDecision
{
    private DnsDecision() { }

    public required string Reason { get; init; }

    /// <summary>Every authoritative server answers what it should.</summary>
    public sealed record Settled : DnsDecision;

    /// <summary>Written, and not every server answers it yet.</summary>
    public sealed record Wait : DnsDecision;

    /// <param name="ByHand">All servers had answered what was written, and one does not any more: somebody changed it.</param>
    public sealed record Write(bool ByHand = false) : DnsDecision;

    /// <summary>Secondaries take a moment; what has not arrived after this long is written again.</summary>
    public static readonly TimeSpan SpreadMax = TimeSpan.FromSeconds(30);

    public static DnsDecision Decide(DnsRecord wanted, string driver, DnsWritten? written, IReadOnlyList<DnsReading> readings, DateTimeOffset now)
    {
        if (written is null || written.Driver != driver)
            return new Write { Reason = written is null ? $"{wanted.Name} was not written yet" : $"{wanted.Name} was written by {written.Driver}" };
        if (!wanted.Is(written.Values))
            return new Write { Reason = $"{wanted.Name} was {DnsRecord.Said(written.Values)} and is to be {DnsRecord.Said(wanted.Values)}" };
        if (wanted.Ttl != written.Ttl)
            return new Write { Reason = $"{wanted.Name} had another ttl" };

        var wrong = readings.Where(r => r.Values is not null && !r.Is(wanted)).ToList();
        if (wrong.Count > 0)
        {
            var said = string.Join("; ", wrong.Select(r => r.Said));
            if (written.SettledAt is not null)
                return new Write(ByHand: true) { Reason = $"somebody changed {wanted.Name}: {said}, and it was {DnsRecord.Said(wanted.Values)}" };
            return now - written.At < SpreadMax && now >= written.At
                ? new Wait { Reason = said }
                : new Write { Reason = $"{said} {SpreadMax.TotalSeconds:0} s after it was written" };
        }
        var silent = readings.Where(r => r.Values is null).ToList();
        return silent.Count > 0 || readings.Count == 0
            ? new Wait { Reason = readings.Count == 0 ? "no authoritative server is known" : string.Join("; ", silent.Select(r => r.Said)) }
            : new Settled { Reason = string.Join("; ", readings.Select(r => r.Said)) };
    }
}
