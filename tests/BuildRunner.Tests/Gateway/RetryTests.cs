using System.Net;
using System.Net.Sockets;
using System.Text;
using BuildRunner.Core.Databases;

namespace BuildRunner.Tests.Gateway;

/// <summary>What is sent twice, and what never: against real origins that refuse, close, hang and answer 421.</summary>
public sealed class RetryTests : IAsyncDisposable
{
    private readonly GatewayUnderTest _gateway = new();

    public ValueTask DisposeAsync() => _gateway.DisposeAsync();

    [Fact(Timeout = 30_000)]
    public async Task Get_NearRefuses_IsTriedOnceFar()
    {
        await _gateway.StartAsync(_gateway.Standard(near: GatewayUnderTest.Refusing));
        Assert.Equal(HttpStatusCode.OK, (await _gateway.GetAsync()).StatusCode);
        Assert.Equal(1, _gateway.Far.Requests);
        Assert.Equal(1, _gateway.Report().Traffic.Retried);
    }

    [Fact(Timeout = 30_000)]
    public async Task Get_NearClosesBeforeAnAnswer_IsTriedOnceFar()
    {
        _gateway.Near.Answer = static _ => Task.FromResult<string?>(null);
        await _gateway.StartAsync(_gateway.Standard());
        Assert.Equal(HttpStatusCode.OK, (await _gateway.GetAsync()).StatusCode);
        Assert.Equal(1, _gateway.Far.Requests); // near may see it more than once: the connection pool tries a safe request again by itself
    }

    [Fact(Timeout = 30_000)]
    public async Task Get_BothRegionsAway_IsAnHonest503()
    {
        await _gateway.StartAsync(_gateway.Standard(near: GatewayUnderTest.Refusing, far: GatewayUnderTest.Refusing));
        using var answer = await _gateway.GetAsync();
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        Assert.NotNull(answer.Headers.RetryAfter);
    }

    [Fact(Timeout = 30_000)]
    public async Task Get_NearHangs_Is504AndNotRepeated()
    {
        _gateway.Near.Answer = static async _ => { await Task.Delay(Timeout.Infinite, TestContext.Current.CancellationToken); return null; };
        await _gateway.StartAsync(_gateway.Standard());
        Assert.Equal(HttpStatusCode.GatewayTimeout, (await _gateway.GetAsync()).StatusCode);
        Assert.Equal((1, 0), (_gateway.Near.Requests, _gateway.Far.Requests));
    }

    /// <summary>Longer than the gateway keeps, so that it streams; the origin waits for a rest that never comes.</summary>
    [Theory(Timeout = 30_000)]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Post_BodyTooLarge_Is413AndNoUnknownOutcome(bool chunked)
    {
        await _gateway.StartAsync(_gateway.Standard(), bodyMax: 2 * 1024 * 1024);
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, _gateway.Address.Port, TestContext.Current.CancellationToken);
        await using var stream = client.GetStream();
        var head = $"POST /api/x HTTP/1.1\r\nHost: x\r\n{(chunked ? "Transfer-Encoding: chunked" : $"Content-Length: {3 * 1024 * 1024}")}\r\n\r\n";
        await stream.WriteAsync(Encoding.ASCII.GetBytes(head), TestContext.Current.CancellationToken);
        var block = new byte[64 * 1024];
        try
        {
            for (var sent = 0; sent < 3 * 1024 * 1024; sent += block.Length)
            {
                if (chunked)
                    await stream.WriteAsync("10000\r\n"u8.ToArray(), TestContext.Current.CancellationToken);
                await stream.WriteAsync(block, TestContext.Current.CancellationToken);
                if (chunked)
                    await stream.WriteAsync("\r\n"u8.ToArray(), TestContext.Current.CancellationToken);
            }
        }
        catch (IOException) { } // it has its answer already, and reads no more

        var answer = "";
        try
        {
            using var reader = new StreamReader(stream);
            while (await reader.ReadLineAsync(TestContext.Current.CancellationToken) is { Length: > 0 } line)
                answer += line + "\n";
        }
        catch (IOException) { } // closed with what was not read
        Assert.StartsWith("HTTP/1.1 413", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("BuildRunner-Outcome", answer, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(0, _gateway.Report().Traffic.Unknown);
    }

    [Fact(Timeout = 30_000)]
    public async Task Post_PrimaryRefuses_IsTriedAtItsOtherInstance()
    {
        var table = _gateway.Standard();
        var service = table.Services[0];
        await _gateway.StartAsync(table with
        {
            Services = [service with { Instances = [GatewayUnderTest.Instance("near", GatewayUnderTest.Refusing, "api-1"), GatewayUnderTest.Instance("near", _gateway.Near.Address, "api-2"), service.Instances[1]] }],
        });
        for (var i = 0; i < 6; i++)
            Assert.Equal(HttpStatusCode.OK, (await _gateway.PostAsync()).StatusCode);
        Assert.Equal((6, 0), (_gateway.Near.Requests, _gateway.Far.Requests));
    }

    [Fact(Timeout = 30_000)]
    public async Task Post_PrimaryRefuses_NeverGoesElsewhere()
    {
        await _gateway.StartAsync(_gateway.Standard(near: GatewayUnderTest.Refusing));
        using var answer = await _gateway.PostAsync();
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        Assert.False(answer.Headers.Contains("BuildRunner-Outcome")); // it is known: nothing was sent
        Assert.Equal(0, _gateway.Far.Requests);
    }

    [Theory(Timeout = 30_000)]
    [InlineData("POST", "{}")]
    [InlineData("POST", null)]
    [InlineData("DELETE", null)]
    public async Task Write_ConnectionClosedAfterSending_IsUnknownAndNeverRepeated(string method, string? body)
    {
        // The first answer makes the connection a reused one, which a pool would like to try again by itself.
        await _gateway.StartAsync(_gateway.Standard());
        Assert.Equal(HttpStatusCode.OK, (await _gateway.SendAsync(new HttpMethod(method), "/api/x", body)).StatusCode);
        _gateway.Near.Answer = static _ => Task.FromResult<string?>(null);
        using var answer = await _gateway.SendAsync(new HttpMethod(method), "/api/x", body);
        Assert.Equal((HttpStatusCode.BadGateway, "unknown"), (answer.StatusCode, answer.Headers.GetValues("BuildRunner-Outcome").Single()));
        Assert.Equal((2, 0), (_gateway.Near.Requests, _gateway.Far.Requests));
    }

    [Fact(Timeout = 30_000)]
    public async Task Post_Hangs_Is504Unknown()
    {
        _gateway.Near.Answer = static async _ => { await Task.Delay(Timeout.Infinite, TestContext.Current.CancellationToken); return null; };
        await _gateway.StartAsync(_gateway.Standard());
        using var answer = await _gateway.PostAsync();
        Assert.Equal((HttpStatusCode.GatewayTimeout, "unknown"), (answer.StatusCode, answer.Headers.GetValues("BuildRunner-Outcome").Single()));
        Assert.Equal(1, _gateway.Near.Requests);
    }

    [Fact(Timeout = 30_000)]
    public async Task Post_OtherEpoch421_IsSentAgainUntilTheApplicationFollows()
    {
        var refusals = 0;
        _gateway.Near.Answer = _ => Task.FromResult<string?>(refusals++ < 3 ? Origin.Ok("BuildRunner-Epoch: 2\r\n", "no", 421) : Origin.Ok("BuildRunner-Epoch: 3\r\n"));
        await _gateway.StartAsync(_gateway.Standard());
        Assert.Equal(HttpStatusCode.OK, (await _gateway.PostAsync("the body")).StatusCode);
        Assert.Equal(4, _gateway.Near.Requests);
        Assert.Contains("BuildRunner-Epoch: 3", _gateway.Near.Last, StringComparison.Ordinal);
        Assert.EndsWith("the body", _gateway.Near.Last, StringComparison.Ordinal);
    }

    [Fact(Timeout = 30_000)]
    public async Task Post_421OfTheApplicationsOwn_IsPassedOn()
    {
        _gateway.Near.Answer = static _ => Task.FromResult<string?>(Origin.Ok("", "mine", 421));
        await _gateway.StartAsync(_gateway.Standard());
        Assert.Equal(HttpStatusCode.MisdirectedRequest, (await _gateway.PostAsync()).StatusCode);
        Assert.Equal(1, _gateway.Near.Requests);
    }

    [Fact(Timeout = 30_000)]
    public async Task Post_AnsweredUnderAnEpochThatHasEnded_Is504Unknown()
    {
        await _gateway.StartAsync(_gateway.Standard());
        _gateway.Near.Answer = _ =>
        {
            _gateway.Apply(d => d with { Epoch = 4, Primary = "far", State = EpochState.Open });
            return Task.FromResult<string?>(Origin.Ok("BuildRunner-Epoch: 3\r\n"));
        };
        using var answer = await _gateway.PostAsync();
        Assert.Equal((HttpStatusCode.GatewayTimeout, "unknown"), (answer.StatusCode, answer.Headers.GetValues("BuildRunner-Outcome").Single()));
        Assert.Equal((1, 0), (_gateway.Near.Requests, _gateway.Far.Requests));
        Assert.Equal(1, _gateway.Report().Traffic.Unknown);
        Assert.Empty(_gateway.Report().Writes);
    }
}
