using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Where a primary in failsafe asks this candidate for its promise (FAILOVER.md 7), and where somebody who recovers without the server reads what this
/// host has saved and tells it whom to call: one signed question and answer a connection. Bounds: 16 connections, 2 s and 4 KiB a question each.
/// </summary>
internal sealed partial class PeerDoor(
    AgentOptions options, PostgresDriver driver, PromiseKeeper promises, AgentStateFile state, AssignmentBook book, DatabaseDrivers drivers, ServerLine line, ILogger<PeerDoor> logger) : BackgroundService
{
    private const int ConnectionsMax = 16;
    private static readonly TimeSpan AnswerMax = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan ListenAgain = TimeSpan.FromSeconds(1);
    private readonly SemaphoreSlim _places = new(ConnectionsMax);

    public override void Dispose()
    {
        _places.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.PeerPort == 0 || options.DatabasePort == 0)
            return;
        while (!stoppingToken.IsCancellationRequested)
        {
            try { await ListenAsync(stoppingToken); }
            catch (SocketException error)
            {
                LogNotListening(logger, options.Host, options.PeerPort, error.Message);
                await Task.Delay(ListenAgain, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task ListenAsync(CancellationToken cancel)
    {
        using var listener = new TcpListener(IPAddress.TryParse(options.Host, out var address) ? address : (await Dns.GetHostAddressesAsync(options.Host, cancel))[0], options.PeerPort);
        listener.Server.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        listener.Start();
        while (!cancel.IsCancellationRequested)
        {
            await _places.WaitAsync(cancel);
            Socket connection;
            try { connection = await listener.AcceptSocketAsync(cancel); }
            catch
            {
                _places.Release();
                throw;
            }
            _ = AnswerAsync(connection, cancel);
        }
    }

    private async Task AnswerAsync(Socket connection, CancellationToken cancel)
    {
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(AnswerMax);
            await using var stream = new NetworkStream(connection, ownsSocket: true);
            var challenge = PeerKey.Random();
            await WriteAsync(stream, JsonSerializer.SerializeToUtf8Bytes(new PeerHello(challenge), WireJson.Default.PeerHello), limit.Token);
            if (await PeerKey.LineAsync(stream, limit.Token) is not { } said || JsonSerializer.Deserialize(said, WireJson.Default.PeerQuestion) is not { } question)
                return;
            var key = PeerKey.From(driver.Secret("replication"));
            if (!PeerKey.Verify(key, question.Signature, question.Kind, challenge, question.Nonce, question.Ask))
            {
                LogUnsigned(logger);
                return;
            }
            var answer = Answer(question, key);
            var reply = new PeerReply(answer, PeerKey.Sign(key, "answer", options.Region, question.Nonce, question.Ask, answer)) { Region = options.Region };
            await WriteAsync(stream, JsonSerializer.SerializeToUtf8Bytes(reply, WireJson.Default.PeerReply), limit.Token);
        }
        catch (Exception error) when (error is IOException or SocketException or JsonException or OperationCanceledException or InvalidOperationException) { } // it asks again
        finally { _places.Release(); }
    }

    private string Answer(PeerQuestion question, byte[] key)
    {
        switch (question.Kind)
        {
            case PeerQuestion.Promise:
                return JsonSerializer.Serialize(promises.Give(Read(question, WireJson.Default.PromiseAsk)), WireJson.Default.PromiseAnswer);
            case PeerQuestion.Saved:
                return JsonSerializer.Serialize(Saved(), WireJson.Default.SavedState);
            case PeerQuestion.Summon:
                var ask = Read(question, WireJson.Default.SummonAsk);
                var refusal = line.Summon(ask, PeerKey.Token(key, ask.Id, options.Region));
                LogSummoned(logger, ask.Server, refusal ?? "calling it");
                return JsonSerializer.Serialize(new SummonAnswer(refusal is null, refusal), WireJson.Default.SummonAnswer);
            default:
                throw new JsonException($"a question of the unknown kind {question.Kind}");
        }
    }

    private static T Read<T>(PeerQuestion question, JsonTypeInfo<T> type) => JsonSerializer.Deserialize(question.Ask, type) ?? throw new JsonException("a question was null");

    private SavedState Saved()
    {
        var current = state.Current;
        return new SavedState
        {
            Region = options.Region,
            Assignment = book.Current,
            SeenEpoch = current.SeenEpoch,
            SeenToken = current.SeenToken,
            Lineage = current.Lineage,
            PrimaryEpoch = current.PrimaryEpoch,
            Promoting = current.Promoting,
            ServerSilence = line.Silence,
            Promised = promises.Left,
            Reading = drivers.Current.Last,
        };
    }

    private static async Task WriteAsync(Stream stream, byte[] line, CancellationToken cancel)
    {
        await stream.WriteAsync((byte[])[.. line, (byte)'\n'], cancel);
        await stream.FlushAsync(cancel);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The peers' door at {Host}:{Port} is not open, tried again: {Reason}")]
    private static partial void LogNotListening(ILogger logger, string host, int port, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Summoned by the server at {Server}, which acts while this host's own is gone: {Outcome}.")]
    private static partial void LogSummoned(ILogger logger, string server, string outcome);

    [LoggerMessage(Level = LogLevel.Warning, Message = "A question at the peers' door was not signed with this database's secret, and was not answered.")]
    private static partial void LogUnsigned(ILogger logger);
}

/// <summary>Asks a candidate's agent for its promise.</summary>
internal sealed class PeerCalls(PostgresDriver driver, INetwork network)
{
    /// <summary>Its answer; null: none in time, or none that it signed.</summary>
    public async Task<Core.Databases.PromiseAnswer?> AskAsync(PeerAddress peer, Core.Databases.PromiseAsk ask, TimeSpan timeout, CancellationToken cancel)
    {
        if (peer.Port == 0)
            return null;
        var answer = await PeerCall.AskAsync(
            network, peer, PeerKey.From(driver.Secret("replication")), PeerQuestion.Promise, JsonSerializer.Serialize(ask, WireJson.Default.PromiseAsk), PeerKey.LineBytesMax, timeout, cancel);
        if (answer.Text is null)
            return null;
        try { return JsonSerializer.Deserialize(answer.Text, WireJson.Default.PromiseAnswer); }
        catch (JsonException) { return null; }
    }
}
