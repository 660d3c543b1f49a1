using BuildRunner.Core.Alerting;

namespace BuildRunner.Core.Recovery;

/// <summary>Why a record could not be written.</summary>
public enum DnsFaultKind
{
    /// <summary>No answer: it may pass by itself.</summary>
    Unreachable,

    /// <summary>Asked too often; it passes by itself.</summary>
    Limited,

    /// <summary>Another writer was faster; the next pass reads again.</summary>
    Conflict,

    /// <summary>The key or token is not the right one.</summary>
    WrongKey,

    /// <summary>The key is right and may not do this.</summary>
    Refused,

    /// <summary>The server does not keep the zone.</summary>
    NotAuthoritative,

    /// <summary>A server of the house that leads by a later token has written.</summary>
    Superseded,

    /// <summary>Records stand there that are not ours.</summary>
    Foreign,

    /// <summary>The policy, a secret or a command is not usable.</summary>
    Misconfigured,

    /// <summary>Anything else that the other side says.</summary>
    Failed,
}

/// <summary>A record that could not be written.</summary>
/// <param name="Kind">What sort of trouble it is.</param>
/// <param name="Server">Who said so, or was asked in vain.</param>
/// <param name="Message">What is wrong, a sentence.</param>
/// <param name="Fix">What to do, a sentence.</param>
public sealed record DnsFault(DnsFaultKind Kind, string Server, string Message, string Fix)
{
    /// <summary>Whether it is likely to pass by itself.</summary>
    public bool Passing => Kind is DnsFaultKind.Unreachable or DnsFaultKind.Limited or DnsFaultKind.Conflict;
}

/// <summary>When somebody is told about a name.</summary>
public static class DnsAlerts
{
    public const string Kind = "dns_record";

    /// <summary>What may pass by itself is not told before this.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(15);

    public static string KeyOf(string name) => $"{Kind}/{new string([.. name.Where(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.').Take(150)])}";

    /// <summary>Null: all is well with the name, or it is too early to say.</summary>
    /// <param name="wanted">What it should answer.</param>
    /// <param name="fault">The last write's trouble; null: it went well.</param>
    /// <param name="readings">What the authoritative servers answer.</param>
    /// <param name="troubledFor">Since when it is not as it should be.</param>
    /// <param name="dead">Addresses of regions that do not live: users must not be sent there.</param>
    public static Alert? Decide(DnsRecord wanted, DnsFault? fault, IReadOnlyList<DnsReading> readings, TimeSpan troubledFor, IReadOnlyCollection<string> dead)
    {
        var wrong = readings.Where(r => !r.Is(wanted)).ToList();
        if (fault is null && wrong.Count == 0)
            return null;
        if (troubledFor < Patience && fault is null or { Passing: true })
            return null;
        var lost = wrong.Where(r => r.Values?.Any(dead.Contains) == true).Select(r => r.Server).ToList();
        var answers = wrong.Count == 0 ? "" : $" {string.Join("; ", wrong.Select(r => r.Said))}.";
        var details = fault is null
            ? $"It should answer {DnsRecord.Said(wanted.Values)}.{answers} It was written, and the servers above do not answer it: look whether they take the zone from its primary server."
            : $"It should answer {DnsRecord.Said(wanted.Values)}.{answers} {fault.Message} {fault.Fix}";
        return new Alert(KeyOf(wanted.Name), lost.Count > 0 ? AlertSeverity.Critical : AlertSeverity.Warning,
            lost.Count > 0 ? $"{wanted.Name} still sends users to a region that is lost" : $"{wanted.Name} does not answer what it should", details, "br dr status");
    }
}
