using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Server.Hosting;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Hosting;

/// <summary>Lines between a real server and real node clients over HTTP.</summary>
public sealed class NodeLinesTests
{
    /// <summary>Of a region that no policy names: nobody but the test publishes to it.</summary>
    private static readonly NodeName Agent = new(NodeKind.Agent, "nowhere-1");
    private static readonly TimeSpan Enough = TimeSpan.FromSeconds(10);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static Order NewOrder(string id, string kind = "test") => new() { Id = id, Kind = kind, Arguments = JsonSerializer.SerializeToElement(0) };

    private static JsonElement Document(string text) => JsonSerializer.SerializeToElement(text);

    private sealed class Work : INodeWork
    {
        private readonly Channel<(long Version, string Text)> _applied = Channel.CreateUnbounded<(long, string)>();

        public Func<Order, CancellationToken, Task<OrderResult>> Act { get; init; } = (order, _) => Task.FromResult(new OrderResult { Id = order.Id, Done = true, Data = JsonSerializer.SerializeToElement("did") });
        public ChannelReader<(long Version, string Text)> Applied => _applied.Reader;
        public Channel<Order> Orders { get; } = Channel.CreateUnbounded<Order>();
        public int Carried { get; private set; }
        public bool Reports { get; init; } = true;
        public long FencingToken { get; set; }
        public long DocumentVersion { get; private set; }

        public Task ApplyAsync(long version, JsonElement document, CancellationToken cancel)
        {
            DocumentVersion = version;
            _applied.Writer.TryWrite((version, document.GetString()!));
            return Task.CompletedTask;
        }

        public Task<OrderResult> CarryOutAsync(Order order, CancellationToken cancel)
        {
            Carried++;
            Orders.Writer.TryWrite(order);
            return Act(order, cancel);
        }

        public byte[]? Report(string incarnation) => Reports
            ? JsonSerializer.SerializeToUtf8Bytes(new AgentReport { Incarnation = incarnation, At = DateTimeOffset.UnixEpoch, Host = "127.0.1.1", FencingToken = FencingToken }, WireJson.Default.AgentReport)
            : null;
    }

    private sealed class Node : IAsyncDisposable
    {
        private readonly NodeClient _client;

        public Node(Uri server, string token, Work work, string? memory = null, TimeSpan? reportInterval = null)
        {
            var options = new NodeClientOptions { Name = Agent, Server = server, Token = token, MemoryFolder = memory, ReportInterval = reportInterval ?? TimeSpan.FromMilliseconds(500) };
            Line = new ServerLine(options, new DirectNetwork(), TimeProvider.System);
            _client = new NodeClient(options, work, Line, TimeProvider.System, NullLogger<NodeClient>.Instance);
            _client.StartAsync(Cancel).GetAwaiter().GetResult();
        }

        public NodeClient Client => _client;

        public ServerLine Line { get; }

        public async ValueTask DisposeAsync()
        {
            await _client.StopAsync(CancellationToken.None);
            _client.Dispose();
            Line.Dispose();
        }
    }

    private static async Task<(TestServer Server, string Token, INodeLinks Links)> StartAsync()
    {
        var server = await TestServer.StartAsync();
        return (server, (await server.TokenAsync(AccessRole.Agent, "nowhere-1")).Token, server.Services.GetRequiredService<INodeLinks>());
    }

    [Fact(Timeout = 30_000)]
    public async Task Publish_AWaitingPoll_IsAnsweredAtOnce()
    {
        var (server, token, links) = await StartAsync();
        await using var _ = server;
        var work = new Work();
        await using var node = new Node(server.Address, token, work);
        links.Publish(Agent, 1, Document("one"));
        Assert.Equal((1, "one"), await work.Applied.ReadAsync(Cancel));
        await Eventually.TrueAsync(() => links.Nodes.Any(link => link.Connected && link.DocumentVersion == 1), "the node waits again", Cancel);
        var from = Stopwatch.GetTimestamp();
        links.Publish(Agent, 2, Document("two"));
        Assert.Equal((2, "two"), await work.Applied.ReadAsync(Cancel));
        Assert.InRange(Stopwatch.GetElapsedTime(from).TotalMilliseconds, 0, 1000); // not after the poll's 3 s
        links.Publish(Agent, 1, Document("older")); // versions only grow
        links.Publish(Agent, 3, Document("three"));
        Assert.Equal((3, "three"), await work.Applied.ReadAsync(Cancel));
    }

    [Fact(Timeout = 30_000)]
    public async Task Send_AnOrder_IsCarriedOutOnceAndAnswered()
    {
        var (server, token, links) = await StartAsync();
        await using var _ = server;
        var work = new Work();
        await using var node = new Node(server.Address, token, work);
        var outcome = Assert.IsType<OrderOutcome.Done>(await links.SendAsync(Agent, NewOrder("o1"), Enough, Cancel));
        Assert.Equal("did", outcome.Result.Data?.GetString());
        Assert.IsType<OrderOutcome.Done>(await links.SendAsync(Agent, NewOrder("o1"), Enough, Cancel)); // answered from memory
        Assert.Equal(1, work.Carried);
    }

    [Fact(Timeout = 30_000)]
    public async Task Send_TheSameIdTwice_JoinsTheOrderUnderWay()
    {
        var (server, token, links) = await StartAsync();
        await using var _ = server;
        var go = new TaskCompletionSource();
        var work = new Work { Act = async (order, cancel) => { await go.Task.WaitAsync(cancel); return new OrderResult { Id = order.Id, Done = true }; } };
        await using var node = new Node(server.Address, token, work);
        var first = links.SendAsync(Agent, NewOrder("o1"), Enough, Cancel);
        await work.Orders.Reader.ReadAsync(Cancel);
        var second = links.SendAsync(Agent, NewOrder("o1"), Enough, Cancel);
        links.Publish(Agent, 1, Document("a poll in between")); // the order is named as under way and does not come again
        await work.Applied.ReadAsync(Cancel);
        go.SetResult();
        Assert.All(await Task.WhenAll(first, second), outcome => Assert.IsType<OrderOutcome.Done>(outcome));
        Assert.Equal(1, work.Carried);
    }

    [Fact(Timeout = 30_000)]
    public async Task Send_RefusedOrFailed_SaysSo_AndOnlyAFailureIsTriedAnew()
    {
        var (server, token, links) = await StartAsync();
        await using var _ = server;
        var work = new Work
        {
            Act = (order, _) => order.Kind switch
            {
                "refuse" => Task.FromResult(new OrderResult { Id = order.Id, Done = false, Refused = true, Error = "older epoch" }),
                _ => throw new InvalidOperationException("no disk"),
            },
        };
        await using var node = new Node(server.Address, token, work);
        for (var i = 0; i < 2; i++)
        {
            var refused = Assert.IsType<OrderOutcome.Done>(await links.SendAsync(Agent, NewOrder("r", "refuse"), Enough, Cancel)).Result;
            Assert.Equal((false, true, "older epoch"), (refused.Done, refused.Refused, refused.Error));
        }
        Assert.Equal(1, work.Carried);
        for (var i = 0; i < 2; i++)
        {
            var failed = Assert.IsType<OrderOutcome.Done>(await links.SendAsync(Agent, NewOrder("f"), Enough, Cancel)).Result;
            Assert.Contains("no disk", failed.Error, StringComparison.Ordinal);
        }
        Assert.Equal(3, work.Carried);
    }

    [Fact(Timeout = 30_000)]
    public async Task Send_ToAnAbsentNode_IsUnreachable_AndTheGivenUpOrderNeverComes()
    {
        var (server, token, links) = await StartAsync();
        await using var _ = server;
        var gone = Assert.IsType<OrderOutcome.Unreachable>(await links.SendAsync(Agent, NewOrder("late"), TimeSpan.FromMilliseconds(50), Cancel));
        Assert.Contains("has not called in", gone.Reason, StringComparison.Ordinal);
        var work = new Work();
        await using var node = new Node(server.Address, token, work);
        Assert.IsType<OrderOutcome.Done>(await links.SendAsync(Agent, NewOrder("now"), Enough, Cancel));
        Assert.Equal("now", (await work.Orders.Reader.ReadAsync(Cancel)).Id);
        Assert.Equal(1, work.Carried);
    }

    [Fact(Timeout = 30_000)]
    public async Task Send_MoreThanTheBound_IsRefusedAtOnce()
    {
        var (server, _, links) = await StartAsync();
        await using var __ = server;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var waiting = Enumerable.Range(0, 64).Select(i => links.SendAsync(Agent, NewOrder($"{i}"), Enough, stop.Token)).ToList();
        Assert.Contains("64 orders", Assert.IsType<OrderOutcome.Unreachable>(await links.SendAsync(Agent, NewOrder("65"), Enough, Cancel)).Reason, StringComparison.Ordinal);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Task.WhenAll(waiting));
        Assert.Contains("has not called in", Assert.IsType<OrderOutcome.Unreachable>(await links.SendAsync(Agent, NewOrder("66"), TimeSpan.FromMilliseconds(10), Cancel)).Reason, StringComparison.Ordinal);
    }

    [Fact(Timeout = 60_000)]
    public async Task ServerRestarts_NodeCallsAgainAtOnce_AndRemembersWhatItDid()
    {
        using var folder = new TempFolder();
        var server = await TestServer.StartAsync(folder.File("server"));
        var token = (await server.TokenAsync(AccessRole.Agent, "nowhere-1")).Token;
        var (address, port) = (server.Address, server.Port);
        var work = new Work();
        await using (var node = new Node(address, token, work, folder.File("orders")))
        {
            await Order(server, "o1");
            await server.DisposeAsync();
            server = await TestServer.StartAsync(folder.File("server"), port);
            var from = Stopwatch.GetTimestamp();
            await Order(server, "o1");
            Assert.InRange(Stopwatch.GetElapsedTime(from).TotalSeconds, 0, 1.5);
            Assert.Equal(1, work.Carried);
        }
        // The node restarts, too: its memory is on disk.
        var again = new Work();
        await using (var node = new Node(address, token, again, folder.File("orders")))
            await Order(server, "o1");
        Assert.Equal(0, again.Carried);
        await server.DisposeAsync();

        static async Task Order(TestServer server, string id) =>
            Assert.True(Assert.IsType<OrderOutcome.Done>(await server.Services.GetRequiredService<INodeLinks>().SendAsync(Agent, NewOrder(id), Enough, Cancel)).Result.Done);
    }

    [Fact(Timeout = 30_000)]
    public async Task Connection_BreaksWhileItWaits_IsKnownAtOnce_AndMendedByTheNextCall()
    {
        var (server, token, links) = await StartAsync();
        await using var _ = server;
        var poll = JsonSerializer.SerializeToUtf8Bytes(new NodePoll { Incarnation = "a", WaitMs = 20_000 }, WireJson.Default.NodePoll);
        using (var line = new TcpClient())
        {
            await line.ConnectAsync(server.Address.Host, server.Port, Cancel);
            await line.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"POST /v1/nodes/agent/nowhere-1/poll HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {poll.Length}\r\n\r\n"), Cancel);
            await line.GetStream().WriteAsync(poll, Cancel);
            var heard = new byte[2000];
            var read = line.GetStream().ReadAsync(heard, Cancel).AsTask();
            await Eventually.TrueAsync(() => read.IsCompleted ? throw new InvalidOperationException(Encoding.ASCII.GetString(heard)) : links.Nodes.Any(link => link is { Connected: true, Broken: false }), "it waits", Cancel);
            Assert.False(links.IsBroken(Agent));
        }
        await Eventually.TrueAsync(() => links.IsBroken(Agent), "the line is known to be broken", Cancel, TimeSpan.FromSeconds(2));
        using var http = server.Http(token);
        using var again = await http.PostAsync("/v1/nodes/agent/nowhere-1/poll", JsonContent.Create(new NodePoll { Incarnation = "a", WaitMs = 0 }, WireJson.Default.NodePoll), Cancel);
        Assert.False(links.IsBroken(Agent)); // between two polls a line is not broken
    }

    [Fact(Timeout = 30_000)]
    public async Task Stop_WithPollsWaiting_IsQuick()
    {
        var (server, token, links) = await StartAsync();
        await using var node = new Node(server.Address, token, new Work());
        await Eventually.TrueAsync(() => links.Nodes.Any(link => link.Connected), "a poll waits", Cancel);
        var from = Stopwatch.GetTimestamp();
        await server.DisposeAsync();
        Assert.InRange(Stopwatch.GetElapsedTime(from).TotalSeconds, 0, 1.5);
    }

    [Fact(Timeout = 30_000)]
    public async Task NewerIncarnation_TakesThePlace_AndTheFormerIsRefused()
    {
        var (server, token, _) = await StartAsync();
        await using var __ = server;
        using var http = server.Http(token);
        Assert.Equal(HttpStatusCode.OK, await PollAsync("a", 0));
        var waiting = PollAsync("a", 20_000);
        await Eventually.TrueAsync(() => server.Services.GetRequiredService<INodeLinks>().Nodes.Any(link => link.Connected), "the first waits", Cancel);
        Assert.Equal(HttpStatusCode.OK, await PollAsync("b", 0));
        Assert.Equal(HttpStatusCode.Conflict, await waiting); // its wait ends at once
        Assert.Equal(HttpStatusCode.Conflict, await PollAsync("a", 0));
        Assert.Equal(HttpStatusCode.OK, await PollAsync("b", 0));

        async Task<HttpStatusCode> PollAsync(string incarnation, int wait)
        {
            using var answer = await http.PostAsync("/v1/nodes/agent/nowhere-1/poll", JsonContent.Create(new NodePoll { Incarnation = incarnation, WaitMs = wait }, WireJson.Default.NodePoll), Cancel);
            return answer.StatusCode;
        }
    }

    [Fact(Timeout = 30_000)]
    public async Task Report_NowOrAtIntervals_IsSeenAndWaitedFor()
    {
        var (server, token, _) = await StartAsync();
        await using var __ = server;
        var reports = server.Services.GetRequiredService<INodeReports>();
        Assert.Null(reports.Agent("nowhere-1"));
        Assert.False(await reports.WaitAsync(all => all.Agent("nowhere-1") is not null, TimeSpan.FromMilliseconds(20), Cancel));
        var work = new Work();
        await using var node = new Node(server.Address, token, work, reportInterval: TimeSpan.FromMinutes(5));
        Assert.True(await reports.WaitAsync(all => all.Agent("nowhere-1") is not null, Enough, Cancel));
        Assert.Null(reports.Agent("nowhere-2"));
        Assert.Null(reports.Gateway("nowhere-1"));
        Assert.True(reports.LastAgent("nowhere-1")?.Age < Enough);

        work.FencingToken = 7;
        var seen = reports.WaitAsync(all => all.Agent("nowhere-1", Enough)?.FencingToken == 7, Enough, Cancel);
        node.Client.ReportNow();
        Assert.True(await seen);
        Assert.NotNull(node.Line.Silence);
    }

    [Fact(Timeout = 30_000)]
    public async Task Summon_ItsServerAnswers_IsRefused()
    {
        var (server, token, _) = await StartAsync();
        await using var __ = server;
        await using var node = new Node(server.Address, token, new Work());
        await Eventually.TrueAsync(() => node.Line.Silence is not null, "its server has answered", Cancel);
        Assert.Contains("answered", node.Line.Summon(new SummonAsk("http://127.0.0.1:1", "s"), "t"), StringComparison.Ordinal);
        Assert.Equal(server.Address, node.Line.Server);
    }

    /// <summary>Its own server is gone: the node calls the one that summoned it, with the token that both made, and its own again when that has ended.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Summon_ItsServerIsGone_CallsTheOtherUntilThatEnds()
    {
        var own = await TestServer.StartAsync();
        var ownAddress = own.Address;
        var work = new Work();
        await using var node = new Node(ownAddress, (await own.TokenAsync(AccessRole.Agent, "nowhere-1")).Token, work);
        await own.DisposeAsync();
        await Eventually.TrueAsync(() => node.Line.Silence is null || node.Line.Silence > ServerLine.AliveMax, "its server is silent", Cancel);

        var (other, token, links) = await StartAsync();
        Assert.Null(node.Line.Summon(new SummonAsk(other.Address.ToString(), "s"), token));
        Assert.Null(node.Line.Summon(new SummonAsk(other.Address.ToString(), "s"), token));
        links.Publish(Agent, 5, Document("summoned"));
        Assert.Equal((5, "summoned"), await work.Applied.ReadAsync(Cancel));
        await other.DisposeAsync();
        await Eventually.TrueAsync(() => node.Line.Server == ownAddress, "it calls its own server again", Cancel, TimeSpan.FromSeconds(20));
    }

    [Fact]
    public void Summon_NoAddress_IsRefused()
    {
        using var line = new ServerLine(new NodeClientOptions { Name = Agent, Server = new Uri("http://127.0.0.1:1"), Token = "t" }, new DirectNetwork(), TimeProvider.System);
        Assert.NotNull(line.Summon(new SummonAsk("file:///etc/passwd", "s"), "t"));
        Assert.Equal(new Uri("http://127.0.0.1:1"), line.Server);
    }

    [Fact(Timeout = 30_000)]
    public async Task Bodies_TooLargeOrBroken_AreRefused()
    {
        var (server, token, _) = await StartAsync();
        await using var __ = server;
        using var http = server.Http(token);
        using var large = await http.PostAsync("/v1/nodes/agent/nowhere-1/results", JsonContent.Create(new OrderResult { Id = "x", Done = true, Error = new string('x', 1100 * 1024) }, WireJson.Default.OrderResult), Cancel);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, large.StatusCode);
        using var broken = await http.PostAsync("/v1/nodes/agent/nowhere-1/poll", new StringContent("{}", System.Text.Encoding.UTF8, "application/json"), Cancel);
        Assert.Equal(HttpStatusCode.BadRequest, broken.StatusCode);
    }

    [Fact]
    public void OrderMemory_MoreThanKept_ForgetsTheOldestAlsoOnDisk()
    {
        using var folder = new TempFolder();
        var memory = new OrderMemory(folder.Path);
        for (var i = 0; i < OrderMemory.KeptMax + 3; i++)
            memory.Remember(new OrderResult { Id = $"../{i}", Done = true }); // an id is never a path
        Assert.Null(memory.Find("../0"));
        Assert.NotNull(memory.Find("../3"));
        Assert.Equal(OrderMemory.KeptMax, Directory.GetFiles(folder.Path).Length);
        memory.Remember(new OrderResult { Id = "failed", Done = false });
        Assert.Null(new OrderMemory(folder.Path).Find("failed"));
        Assert.NotNull(new OrderMemory(folder.Path).Find($"../{OrderMemory.KeptMax}"));
    }
}
