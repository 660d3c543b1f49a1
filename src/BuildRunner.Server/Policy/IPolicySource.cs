using BuildRunner.Core.Policy;

namespace BuildRunner.Server.Policy;

/// <summary>The policy in force. Read it at the start of each pass: it is swapped live, whole, and never by a bad one.</summary>
public interface IPolicySource
{
    PolicyDocument Current { get; }

    /// <summary>Hash of the applied text, for records that quote the policy they stood under.</summary>
    string Hash { get; }

    /// <summary>Non-null while a freeze is in force: no automatic act.</summary>
    Freeze? Freeze { get; }

    /// <summary>Called after a swap; the callback must not block.</summary>
    IDisposable OnChange(Action changed);
}

public sealed record Freeze(string Reason, string By, DateTimeOffset At, DateTimeOffset Until);
