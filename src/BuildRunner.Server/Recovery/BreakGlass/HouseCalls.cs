using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Recovery.BreakGlass;

/// <summary>
/// Reaches hosts and gateways without their server: reads what they have saved, and summons them. Every question is signed with the house's key, and so is
/// every answer that is believed. Bounds: 3 s a call, 2 MiB an answer.
/// </summary>
internal sealed class HouseCalls(string secret, INetwork network) : IDisposable
{
    private static readonly TimeSpan CallMax = TimeSpan.FromSeconds(3);
    private readonly byte[] _agents = PeerKey.From(secret);
    private readonly byte[] _gateways = PeerKey.ForGateways(secret);
    private readonly HttpClient _http = new(Network.Handler(network, CallMax)) { Timeout = CallMax };

    public string Fingerprint => PeerKey.Fingerprint(_gateways);

    /// <summary>What a host has saved; an error when it did not say.</summary>
    public async Task<HostAnswer> ReadAsync(PeerAddress agent, CancellationToken cancel)
    {
        var answer = await PeerCall.AskAsync(network, agent, _agents, PeerQuestion.Saved, "{}", PeerKey.SavedBytesMax, CallMax, cancel);
        if (answer.Text is null)
            return new HostAnswer(agent, null, null, answer.Error);
        try
        {
            var state = JsonSerializer.Deserialize(answer.Text, WireJson.Default.SavedState) ?? throw new JsonException("it said null");
            return new HostAnswer(agent with { Region = state.Region }, state, answer.Local, null);
        }
        catch (JsonException error) { return new HostAnswer(agent, null, null, $"what it says cannot be read: {error.Message}"); }
    }

    /// <summary>Null: it calls the server now; else why not.</summary>
    public async Task<string?> SummonAgentAsync(PeerAddress agent, SummonAsk ask, CancellationToken cancel)
    {
        var answer = await PeerCall.AskAsync(network, agent, _agents, PeerQuestion.Summon, JsonSerializer.Serialize(ask, WireJson.Default.SummonAsk), PeerKey.LineBytesMax, CallMax, cancel);
        return answer.Text is null ? answer.Error : Read(answer.Text).Reason;
    }

    /// <summary>The table that the gateway has in force, and null or why it does not call the server.</summary>
    public async Task<(RoutingTable? Table, string? Error)> SummonGatewayAsync(string region, string endpoint, SummonAsk ask, CancellationToken cancel)
    {
        try
        {
            var url = new Uri(new Uri(endpoint), SummonPaths.Gateway);
            if (await _http.GetFromJsonAsync(url, WireJson.Default.PeerHello, cancel) is not { } hello)
                return (null, "it gave no challenge");
            var (text, nonce) = (JsonSerializer.Serialize(ask, WireJson.Default.SummonAsk), PeerKey.Random());
            var question = new PeerQuestion(text, nonce, PeerKey.Sign(_gateways, PeerQuestion.Summon, hello.Challenge, nonce, text)) { Kind = PeerQuestion.Summon };
            using var request = new HttpRequestMessage(HttpMethod.Post, url) { Content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(question, WireJson.Default.PeerQuestion)) };
            request.Headers.Add(SummonPaths.Challenge, hello.Challenge);
            using var said = await _http.SendAsync(request, cancel);
            if (said.StatusCode == HttpStatusCode.Forbidden)
                return (null, "it does not know this key");
            if (!said.IsSuccessStatusCode || await said.Content.ReadFromJsonAsync(WireJson.Default.PeerReply, cancel) is not { } reply)
                return (null, $"it answered {(int)said.StatusCode}");
            if (!PeerKey.Verify(_gateways, reply.Signature, "answer", region, nonce, text, reply.Answer))
                return (null, "its answer is not signed with this key");
            var answer = Read(reply.Answer);
            return (answer.Table is null ? null : JsonSerializer.Deserialize(answer.Table, WireJson.Default.RoutingTable), answer.Taken ? null : answer.Reason ?? "it gave no reason");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { return (null, $"no answer within {CallMax.TotalSeconds:0} s"); }
        catch (Exception error) when (error is HttpRequestException or JsonException or UriFormatException) { return (null, error.Message); }
    }

    public string AgentToken(string summons, string region) => PeerKey.Token(_agents, summons, region);

    public string GatewayToken(string summons, string region) => PeerKey.Token(_gateways, summons, region);

    public void Dispose() => _http.Dispose();

    private static SummonAnswer Read(string text) => JsonSerializer.Deserialize(text, WireJson.Default.SummonAnswer) ?? throw new JsonException("it said null");
}

/// <summary>A host that was asked.</summary>
/// <param name="Agent">Where, and who it says it is.</param>
/// <param name="State">Null: no answer.</param>
/// <param name="Local">Address of this host by which it was reached.</param>
/// <param name="Error">Why there is none, a clause.</param>
internal sealed record HostAnswer(PeerAddress Agent, SavedState? State, IPAddress? Local, string? Error)
{
    public SavedHost Host => State is null
        ? new SavedHost { Region = Agent.Region.Length > 0 ? Agent.Region : $"{Agent.Host}:{Agent.Port}", Silent = Error ?? "no answer" }
        : new SavedHost
        {
            Region = State.Region,
            Record = State.Assignment?.House?.Record,
            Version = State.Assignment?.Version ?? 0,
            SeenEpoch = State.SeenEpoch,
            SeenToken = State.SeenToken,
            Lineage = State.Lineage,
            PrimaryEpoch = State.PrimaryEpoch,
            Promoting = State.Promoting,
            ServerSilence = State.ServerSilence,
            Promised = State.Promised,
            Reading = State.Reading,
        };
}
