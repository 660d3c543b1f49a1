using BuildRunner.Core.Databases;

namespace BuildRunner.Client.Databases;

/// <summary>
/// Lines of JSON at an agent's door, one question a connection: the one that was called begins. Both know the replication role's password and
/// sign with a key made from it; the challenge and the nonce make each signature good for one connection.
/// </summary>
public sealed record PeerHello(string Challenge);

/// <param name="Ask">The question as it was signed, letter for letter.</param>
/// <param name="Nonce">Random; the reply signs it.</param>
/// <param name="Signature">HMAC-SHA256 over kind, challenge, nonce and ask, in hexadecimal.</param>
public sealed record PeerQuestion(string Ask, string Nonce, string Signature)
{
    /// <summary><see cref="PromiseAsk"/> → <see cref="PromiseAnswer"/>, from a primary in failsafe.</summary>
    public const string Promise = "ask";

    /// <summary>Nothing → <see cref="SavedState"/>, from whoever recovers without the server.</summary>
    public const string Saved = "saved";

    /// <summary><see cref="SummonAsk"/> → <see cref="SummonAnswer"/>; a gateway takes it too, on its users' listener.</summary>
    public const string Summon = "summon";

    public string Kind { get; init; } = Promise;
}

/// <param name="Answer">The answer as it was signed.</param>
/// <param name="Signature">HMAC-SHA256 over `answer`, the region that answers, nonce, ask and answer, in hexadecimal.</param>
public sealed record PeerReply(string Answer, string Signature)
{
    public string? Region { get; init; }
}

/// <summary>Call this server, because yours is gone. The token that opens it is made by both ends from their key and <paramref name="Id"/>, and is never sent before.</summary>
/// <param name="Server">Address as every node reaches it.</param>
/// <param name="Id">Made anew for each journal.</param>
public sealed record SummonAsk(string Server, string Id);

/// <param name="Taken">The node calls that server now.</param>
/// <param name="Reason">Why not, a clause.</param>
/// <param name="Table">A gateway's: the routing table it saved, as JSON; null: it has none.</param>
public sealed record SummonAnswer(bool Taken, string? Reason, string? Table = null);

/// <summary>What a host knows while the server is away: the last assignment it was given, and what it must not forget.</summary>
public sealed record SavedState
{
    public int SchemaVersion { get; init; } = 1;
    public required string Region { get; init; }

    /// <summary>The newest assignment, with what the house was like then; null: it never had one.</summary>
    public Assignment? Assignment { get; init; }

    /// <summary>Highest epoch and fencing token that this host obeyed, and the sequence that those epochs belong to.</summary>
    public long SeenEpoch { get; init; }
    public long SeenToken { get; init; }
    public string? Lineage { get; init; }

    /// <summary>Epoch of which the data here is, or ended as, the primary's; and one to which a promotion was begun.</summary>
    public long? PrimaryEpoch { get; init; }
    public long? Promoting { get; init; }

    /// <summary>How long ago its own server last answered; null: not since this agent started.</summary>
    public TimeSpan? ServerSilence { get; init; }

    /// <summary>How long it is bound yet by a promise to a primary in failsafe not to be promoted.</summary>
    public TimeSpan Promised { get; init; }
    public DatabaseReading? Reading { get; init; }
}
