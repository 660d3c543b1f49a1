using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Routing;
using BuildRunner.Server.Gateway;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Recovery.BreakGlass;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Tests.Gateway;

/// <summary>A gateway whose server is gone follows who holds the house's key, and nobody else.</summary>
public sealed class SummonTests
{
    private const string Secret = "correct horse battery staple";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 60_000)]
    public async Task Summon_SignedWithTheHousesKey_IsTakenAndAnsweredWithTheTable()
    {
        await using var gateway = new GatewayUnderTest();
        await gateway.StartAsync(gateway.Standard());
        GiveKey(gateway);
        using var calls = new HouseCalls(Secret, new DirectNetwork());
        var (table, error) = await calls.SummonGatewayAsync("near", gateway.Address.ToString(), new SummonAsk("http://127.0.0.1:1", "s"), Cancel);
        Assert.Null(error);
        Assert.Equal(gateway.Table.Version, table!.Version);
        Assert.Equal(new Uri("http://127.0.0.1:1"), gateway.Services.GetRequiredService<ServerLine>().Server);
    }

    [Fact(Timeout = 60_000)]
    public async Task Summon_AnotherKeyAnotherRegionOrNoKeyYet_IsNotTaken()
    {
        await using var gateway = new GatewayUnderTest();
        await gateway.StartAsync(gateway.Standard());
        var own = gateway.Services.GetRequiredService<ServerLine>().Server;
        using var calls = new HouseCalls(Secret, new DirectNetwork());
        var ask = new SummonAsk("http://127.0.0.1:1", "s");
        Assert.Contains("key", (await calls.SummonGatewayAsync("near", gateway.Address.ToString(), ask, Cancel)).Error, StringComparison.Ordinal); // it has none
        GiveKey(gateway);
        using var others = new HouseCalls("another", new DirectNetwork());
        Assert.Contains("key", (await others.SummonGatewayAsync("near", gateway.Address.ToString(), ask, Cancel)).Error, StringComparison.Ordinal);
        Assert.Equal(own, gateway.Services.GetRequiredService<ServerLine>().Server);
    }

    /// <summary>A summons that somebody has overheard is worth nothing later: it bears another's challenge.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Summon_OverheardOrBroken_IsRefused()
    {
        await using var gateway = new GatewayUnderTest();
        await gateway.StartAsync(gateway.Standard());
        GiveKey(gateway);
        var key = PeerKey.ForGateways(Secret);
        var text = JsonSerializer.Serialize(new SummonAsk("http://127.0.0.1:1", "s"), WireJson.Default.SummonAsk);
        var question = JsonSerializer.Serialize(new PeerQuestion(text, "n", PeerKey.Sign(key, PeerQuestion.Summon, "1.abc", "n", text)) { Kind = PeerQuestion.Summon }, WireJson.Default.PeerQuestion);
        Assert.Equal(HttpStatusCode.Forbidden, (await gateway.SendAsync(HttpMethod.Post, SummonPaths.Gateway, question, (SummonPaths.Challenge, "1.abc"))).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await gateway.SendAsync(HttpMethod.Post, SummonPaths.Gateway, "{", (SummonPaths.Challenge, "x"))).StatusCode);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await gateway.SendAsync(HttpMethod.Post, SummonPaths.Gateway, new string('x', 5000))).StatusCode);
        using var http = new HttpClient();
        Assert.NotNull(await http.GetFromJsonAsync(new Uri(gateway.Address, SummonPaths.Gateway), WireJson.Default.PeerHello, Cancel));
    }

    /// <summary>A server that does not know the keys sends none: cookies and summonses stay good.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Apply_ADocumentWithoutKeys_KeepsThoseThatAreThere()
    {
        await using var gateway = new GatewayUnderTest();
        await gateway.StartAsync(gateway.Standard());
        GiveKey(gateway);
        var table = gateway.Services.GetRequiredService<GatewayTable>();
        table.Apply(new GatewayDocument { Table = gateway.Table with { Version = 900 } });
        Assert.Equal((900L, 1, true), (table.State!.View.Table.Version, table.State.AffinityKeys.Count, table.State.SummonKey is not null));
        table.Dispose();
        using var again = new GatewayTable(Path.Combine(gateway.Folder, "data"), TimeProvider.System);
        Assert.Null(again.Load());
        Assert.Equal((900L, 1, true), (again.State!.View.Table.Version, again.State.AffinityKeys.Count, again.State.SummonKey is not null));
    }

    private static void GiveKey(GatewayUnderTest gateway) => gateway.Services.GetRequiredService<GatewayTable>().Apply(new GatewayDocument
    {
        Table = gateway.Table, AffinityKeys = [Convert.ToBase64String(new byte[32])], SummonKey = Convert.ToBase64String(PeerKey.ForGateways(Secret)),
    });
}
