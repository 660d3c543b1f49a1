using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;

namespace BuildRunner.Server.Hosting;

/// <summary>One signed question at an agent's door, and its signed answer.</summary>
internal static class PeerCall
{
    /// <summary>The answer; an error when there was none in time, or none that the region signed.</summary>
    /// <param name="network">How it is reached.</param>
    /// <param name="peer">Whose door; an empty region: whoever answers there.</param>
    /// <param name="key">The key of agents.</param>
    /// <param name="kind">One of <see cref="PeerQuestion"/>.</param>
    /// <param name="text">The question as it is signed.</param>
    /// <param name="bytesMax">Longest answer.</param>
    /// <param name="timeout">For all of it.</param>
    /// <param name="cancel">Stops it.</param>
    public static async Task<PeerAnswer> AskAsync(INetwork network, PeerAddress peer, byte[] key, string kind, string text, int bytesMax, TimeSpan timeout, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(timeout);
        try
        {
            var socket = await Network.ConnectAsync(network, peer.Host, peer.Port, limit.Token);
            var local = (socket.LocalEndPoint as IPEndPoint)?.Address;
            await using var stream = new NetworkStream(socket, ownsSocket: true);
            if (await PeerKey.LineAsync(stream, limit.Token) is not { } line || JsonSerializer.Deserialize(line, WireJson.Default.PeerHello) is not { } hello)
                return PeerAnswer.None("it closed the line");
            var nonce = PeerKey.Random();
            var question = JsonSerializer.Serialize(new PeerQuestion(text, nonce, PeerKey.Sign(key, kind, hello.Challenge, nonce, text)) { Kind = kind }, WireJson.Default.PeerQuestion);
            await stream.WriteAsync(Encoding.UTF8.GetBytes(question + "\n"), limit.Token);
            if (await PeerKey.LineAsync(stream, limit.Token, bytesMax) is not { } said || JsonSerializer.Deserialize(said, WireJson.Default.PeerReply) is not { } reply)
                return PeerAnswer.None("it gave no answer: it has another key, or is an older version");
            var region = peer.Region.Length > 0 ? peer.Region : reply.Region ?? "";
            return PeerKey.Verify(key, reply.Signature, "answer", region, nonce, text, reply.Answer)
                ? new PeerAnswer(region, reply.Answer, local, null)
                : PeerAnswer.None("its answer is not signed with this key");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { return PeerAnswer.None(string.Create(CultureInfo.InvariantCulture, $"no answer within {timeout.TotalSeconds:0.#} s")); }
        catch (Exception error) when (error is IOException or SocketException or JsonException) { return PeerAnswer.None(error.Message); }
    }
}

/// <param name="Region">Who signed it.</param>
/// <param name="Text">The answer; null: none.</param>
/// <param name="Local">Address of this host by which it was reached.</param>
/// <param name="Error">Why there is none, a clause.</param>
internal sealed record PeerAnswer(string Region, string? Text, IPAddress? Local, string? Error)
{
    public static PeerAnswer None(string why) => new("", null, null, why);
}
