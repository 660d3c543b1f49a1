using System.Security.Cryptography;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Gateway;

/// <summary>
/// Whom this gateway calls while its own server is gone: a signed question on the users' listener, answered with the table that is in force here. Nothing
/// is kept between the two requests, so that nobody can fill it up: a challenge is this process's own signature over the time.
/// </summary>
internal sealed partial class GatewaySummons(string region, GatewayTable table, ServerLine line, TimeProvider time, ILogger<GatewaySummons> logger)
{
    public const int BodyBytesMax = PeerKey.LineBytesMax;
    private static readonly TimeSpan ChallengeMax = TimeSpan.FromSeconds(10);
    private readonly byte[] _own = RandomNumberGenerator.GetBytes(32);

    public PeerHello Hello()
    {
        var at = time.GetTimestamp().ToString(CultureInfo.InvariantCulture);
        return new PeerHello($"{at}.{PeerKey.Sign(_own, at)}");
    }

    /// <summary>Null: it is not signed with the key of this house, or comes too late.</summary>
    public PeerReply? Take(PeerQuestion question, string challenge)
    {
        if (table.State is not { SummonKey: { } key } state || !IsOurs(challenge) || question.Kind != PeerQuestion.Summon
            || !PeerKey.Verify(key, question.Signature, question.Kind, challenge, question.Nonce, question.Ask))
        {
            LogUnsigned(logger);
            return null;
        }
        var ask = JsonSerializer.Deserialize(question.Ask, WireJson.Default.SummonAsk) ?? throw new JsonException("a question was null");
        var refusal = line.Summon(ask, PeerKey.Token(key, ask.Id, region));
        LogSummoned(logger, ask.Server, refusal ?? "calling it");
        var answer = JsonSerializer.Serialize(
            new SummonAnswer(refusal is null, refusal, JsonSerializer.Serialize(state.View.Table, WireJson.Default.RoutingTable)), WireJson.Default.SummonAnswer);
        return new PeerReply(answer, PeerKey.Sign(key, "answer", region, question.Nonce, question.Ask, answer)) { Region = region };
    }

    private bool IsOurs(string challenge) =>
        challenge.Split('.') is [var at, var signature] && PeerKey.Verify(_own, signature, at)
        && long.TryParse(at, NumberStyles.None, CultureInfo.InvariantCulture, out var from) && time.GetElapsedTime(from) < ChallengeMax;

    [LoggerMessage(Level = LogLevel.Warning, Message = "Summoned by the server at {Server}, which acts while this gateway's own is gone: {Outcome}.")]
    private static partial void LogSummoned(ILogger logger, string server, string outcome);

    [LoggerMessage(Level = LogLevel.Warning, Message = "A summons was not signed with this house's key, or came too late, and was not taken.")]
    private static partial void LogUnsigned(ILogger logger);
}
