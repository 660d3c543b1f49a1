using BuildRunner.Tests.Support;
using System.Net;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Gateway;
using BuildRunner.Server.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Tests.Gateway;

public sealed class PipelineTests : IAsyncDisposable
{
    private readonly GatewayUnderTest _gateway = new();

    public ValueTask DisposeAsync() => _gateway.DisposeAsync();

    [Fact(Timeout = 30_000)]
    public async Task Start_ServerAway_ServesFromTheSavedTable()
    {
        await _gateway.StartAsync();
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await _gateway.GetAsync()).StatusCode);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await _gateway.GetAsync("/br/gateway/healthz")).StatusCode);
        _gateway.Apply(_gateway.Standard());
        await _gateway.StopAsync();

        await _gateway.StartAsync();
        using var answer = await _gateway.GetAsync();
        Assert.Equal((HttpStatusCode.OK, "near"), (answer.StatusCode, answer.Headers.GetValues("X-Gateway").Single()));
        Assert.Equal(HttpStatusCode.OK, (await _gateway.GetAsync("/br/gateway/healthz")).StatusCode);
        Assert.Equal("1\n", await (await _gateway.GetAsync("/br/gateway/table-version")).Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
    }

    [Fact(Timeout = 30_000)]
    public async Task Start_SavedKeys_AreForTheOwnerOnlyAndApartFromTheTable()
    {
        await _gateway.StartAsync(_gateway.Standard());
        var keys = Path.Combine(_gateway.Folder, "data", "affinity-keys");
        await Eventually.TrueAsync(() => File.Exists(Path.Combine(_gateway.Folder, "data", "table.json")), "the table is saved", TestContext.Current.CancellationToken);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(keys));
        Assert.DoesNotContain(File.ReadAllText(keys).Trim(), File.ReadAllText(Path.Combine(_gateway.Folder, "data", "table.json")), StringComparison.Ordinal);
    }

    [Theory(Timeout = 30_000)]
    [InlineData("/br/verify")]
    [InlineData("/BR/verify")]
    [InlineData("//br/warm")]
    [InlineData("/%62r/verify")]
    [InlineData("/br")]
    public async Task Request_InnerPaths_AreNotThereForUsers(string path)
    {
        var table = _gateway.Standard();
        await _gateway.StartAsync(table with { Services = [table.Services[0] with { Routes = [new RouteRow { Pattern = "/**" }] }] });
        Assert.Equal(HttpStatusCode.NotFound, (await _gateway.GetAsync(path)).StatusCode);
        Assert.Equal(0, _gateway.Near.Requests);
    }

    [Fact(Timeout = 30_000)]
    public async Task Request_UsersOwnHeadersOfOurs_AreStripped()
    {
        await _gateway.StartAsync(_gateway.Standard() with { TrustedProxies = [] });
        await _gateway.GetAsync("/api/x", ("BuildRunner-Epoch", "99"), ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Host", "evil"), ("Forwarded", "for=6.6.6.6"), ("X-Original-URL", "/admin"));
        Assert.DoesNotContain("BuildRunner-Epoch", _gateway.Near.Last, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("6.6.6.6", _gateway.Near.Last, StringComparison.Ordinal);
        Assert.DoesNotContain("evil", _gateway.Near.Last, StringComparison.Ordinal);
        Assert.DoesNotContain("/admin", _gateway.Near.Last, StringComparison.Ordinal);
        Assert.Contains("X-Forwarded-For: 127.0.0.1", _gateway.Near.Last, StringComparison.Ordinal);
    }

    [Fact(Timeout = 30_000)]
    public async Task Read_FirstTime_GetsAffinityThatHolds_AForgedOneDoesNot()
    {
        await _gateway.StartAsync(_gateway.Standard());
        using var first = await _gateway.GetAsync("/api/x", ("Cookie", "br-region=far"));
        Assert.False(first.Headers.Contains("Set-Cookie")); // the user's own choice needs none of ours
        Assert.Equal(1, _gateway.Far.Requests);

        using var second = await _gateway.GetAsync();
        var cookie = second.Headers.GetValues("Set-Cookie").Single();
        Assert.Contains("HttpOnly; SameSite=Lax", cookie, StringComparison.Ordinal);

        var far = AffinityCookie.Issue("far", DateTimeOffset.UtcNow, TimeSpan.FromMinutes(30), new byte[32]);
        await _gateway.GetAsync("/api/x", ("Cookie", $"a=b; br-affinity={far}"));
        Assert.Equal(2, _gateway.Far.Requests);
        await _gateway.GetAsync("/api/x", ("Cookie", $"br-affinity={far[..^3]}AAA"));
        await _gateway.GetAsync("/api/x", ("Cookie", $"br-affinity={AffinityCookie.Issue("far", DateTimeOffset.UtcNow, TimeSpan.FromMinutes(30), [1])}"));
        Assert.Equal(2, _gateway.Far.Requests);
    }

    [Fact(Timeout = 30_000)]
    public async Task Read_PublicAnswer_BearsNoCookie()
    {
        _gateway.Near.Answer = static _ => Task.FromResult<string?>(Origin.Ok("Cache-Control: public, max-age=60\r\n"));
        await _gateway.StartAsync(_gateway.Standard());
        Assert.False((await _gateway.GetAsync()).Headers.Contains("Set-Cookie"));
    }

    [Fact(Timeout = 60_000)]
    public async Task Explain_SameFacts_NamesTheRegionThatTheGatewayUses()
    {
        await _gateway.StartAsync(_gateway.Standard());
        foreach (var ip in new[] { "81.2.69.142", "8.8.8.8", "117.192.0.1", "10.0.0.1", "2a01:4f8::1", "197.210.1.1", "200.147.3.157" })
        {
            var (near, far) = (_gateway.Near.Requests, _gateway.Far.Requests);
            for (var i = 0; i < 20; i++)
                await _gateway.GetAsync("/api/x", ("X-Forwarded-For", ip));
            var served = _gateway.Near.Requests > near ? "near" : "far";
            Assert.Equal(20, _gateway.Near.Requests - near + _gateway.Far.Requests - far);
            Assert.True(_gateway.Near.Requests == near || _gateway.Far.Requests == far);

            var address = IPAddress.Parse(ip);
            var facts = new RequestFacts
            {
                Gateway = "near", Method = "GET", Path = "/api/x", Client = ClientKey.Of(address),
                Place = _gateway.Services.GetRequiredService<Server.Hosting.Geo.IGeoReader>().Find(address),
            };
            var explained = RouteExplainer.Explain(facts, address, _gateway.Services.GetRequiredService<GatewayTable>().State!.View, DateTimeOffset.UtcNow);
            Assert.Equal(served, explained.Region);
            Assert.NotEmpty(explained.Reasons);
        }
    }

    [Fact(Timeout = 30_000)]
    public async Task Probe_PassesTheHold_WithTheRowsEpoch_AndCountsApart()
    {
        await _gateway.StartAsync(_gateway.Standard());
        _gateway.Near.Answer = static _ => Task.FromResult<string?>(Origin.Ok("X-Served-By: near/api-1/v1\r\n"));
        _gateway.Apply(d => d with { HoldId = "run-1" });
        var result = await _gateway.Services.GetRequiredService<ProbeOrders>().SendAsync(
            new Client.Routing.ProbeOrder { Service = "api", Method = "POST", Path = "/br/verify", Times = 3 }, epoch: 3, TestContext.Current.CancellationToken);
        Assert.Equal((3, 0, "near/api-1/v1"), (result.Succeeded, result.Failed, result.ServedBy));
        Assert.Contains("BuildRunner-Epoch: 3", _gateway.Near.Last, StringComparison.Ordinal);
        Assert.Equal((0L, 0), (_gateway.Report().Traffic.Requests, _gateway.Report().Writes.Count));
    }
}
