using BuildRunner.Core.Databases;

namespace BuildRunner.Client.Databases;

/// <summary>
/// Lines of JSON between two agents, one question a connection: the one that was called begins. Both know the replication role's password and
/// sign with a key made from it; the challenge and the nonce make each signature good for one connection.
/// </summary>
public sealed record PeerHello(string Challenge);

/// <param name="Ask">A <see cref="PromiseAsk"/> as it was signed, letter for letter.</param>
/// <param name="Nonce">Random; the reply signs it.</param>
/// <param name="Signature">HMAC-SHA256 over `ask`, challenge, nonce and ask, in hexadecimal.</param>
public sealed record PeerQuestion(string Ask, string Nonce, string Signature);

/// <param name="Answer">A <see cref="PromiseAnswer"/> as it was signed.</param>
/// <param name="Signature">HMAC-SHA256 over `answer`, the region that answers, nonce, ask and answer, in hexadecimal.</param>
public sealed record PeerReply(string Answer, string Signature);
