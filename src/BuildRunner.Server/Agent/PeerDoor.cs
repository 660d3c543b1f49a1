using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Where a primary in failsafe asks this candidate for its promise (FAILOVER.md 7): one signed question and answer a connection. Bounds: 16
/// connections, 2 s and 4 KiB a line each.
/// </summary>
internal sealed partial class PeerDoor(AgentOptions options, PostgresDriver driver, PromiseKeeper promises, ILogger<PeerDoor> logger) : BackgroundService
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
            if (await PeerKey.LineAsync(stream, limit.Token) is not { } line || JsonSerializer.Deserialize(line, WireJson.Default.PeerQuestion) is not { } question)
                return;
            var key = PeerKey.From(driver.Secret("replication"));
            if (!PeerKey.Verify(key, question.Signature, "ask", challenge, question.Nonce, question.Ask))
            {
                LogUnsigned(logger);
                return;
            }
            var ask = JsonSerializer.Deserialize(question.Ask, WireJson.Default.PromiseAsk) ?? throw new JsonException("a question was null");
            var answer = JsonSerializer.Serialize(promises.Give(ask), WireJson.Default.PromiseAnswer);
            await WriteAsync(stream, JsonSerializer.SerializeToUtf8Bytes(new PeerReply(answer, PeerKey.Sign(key, "answer", options.Region, question.Nonce, question.Ask, answer)), WireJson.Default.PeerReply), limit.Token);
        }
        catch (Exception error) when (error is IOException or SocketException or JsonException or OperationCanceledException or InvalidOperationException) { } // it asks again
        finally { _places.Release(); }
    }

    private static async Task WriteAsync(Stream stream, byte[] line, CancellationToken cancel)
    {
        await stream.WriteAsync((byte[])[.. line, (byte)'\n'], cancel);
        await stream.FlushAsync(cancel);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The peers' door at {Host}:{Port} is not open, tried again: {Reason}")]
    private static partial void LogNotListening(ILogger logger, string host, int port, string reason);

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
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(timeout);
        try
        {
            var key = PeerKey.From(driver.Secret("replication"));
            await using var stream = new NetworkStream(await Network.ConnectAsync(network, peer.Host, peer.Port, limit.Token), ownsSocket: true);
            if (await PeerKey.LineAsync(stream, limit.Token) is not { } line || JsonSerializer.Deserialize(line, WireJson.Default.PeerHello) is not { } hello)
                return null;
            var (text, nonce) = (JsonSerializer.Serialize(ask, WireJson.Default.PromiseAsk), PeerKey.Random());
            var question = JsonSerializer.Serialize(new PeerQuestion(text, nonce, PeerKey.Sign(key, "ask", hello.Challenge, nonce, text)), WireJson.Default.PeerQuestion);
            await stream.WriteAsync(Encoding.UTF8.GetBytes(question + "\n"), limit.Token);
            if (await PeerKey.LineAsync(stream, limit.Token) is not { } said || JsonSerializer.Deserialize(said, WireJson.Default.PeerReply) is not { } reply)
                return null;
            return PeerKey.Verify(key, reply.Signature, "answer", peer.Region, nonce, text, reply.Answer) ? JsonSerializer.Deserialize(reply.Answer, WireJson.Default.PromiseAnswer) : null;
        }
        catch (Exception error) when (error is IOException or SocketException or JsonException || (error is OperationCanceledException && !cancel.IsCancellationRequested)) { return null; }
    }
}
