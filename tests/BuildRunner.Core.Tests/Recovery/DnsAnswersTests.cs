using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using CsCheck;

namespace BuildRunner.Core.Tests.Recovery;

public class DnsAnswersTests
{
    private static readonly TimeSpan Ttl = TimeSpan.FromSeconds(5);
    private static readonly DateTimeOffset Now = DateTimeOffset.UnixEpoch;

    [Theory]
    [InlineData("live,live,live", "192.0.2.0, 192.0.2.1, 192.0.2.2")]
    [InlineData("dead,live,live", "192.0.2.1, 192.0.2.2")]
    [InlineData("drain,live,live", "192.0.2.1, 192.0.2.2")]
    [InlineData("zero,live,live", "192.0.2.1, 192.0.2.2")]
    [InlineData("dead,drain,drain", "192.0.2.1, 192.0.2.2")] // nobody wants work, and it must go somewhere
    [InlineData("dead,zero,drain", "192.0.2.2")]
    [InlineData("dead,dead,zero", "192.0.2.2")]
    [InlineData("dead,dead,dead", null)] // what was answered stands
    public void Decide_StatesOfTheGateways_SayWhoIsGiven(string states, string? expected)
    {
        var gateways = states.Split(',').Select((state, i) => new DnsGateway($"r{i}", [$"192.0.2.{i}"], state != "dead", state == "drain", state == "zero" ? 0 : 100)).ToList();
        var given = DnsAnswers.Decide("Shop.Test.", Ttl, gateways, "r0");
        Assert.Equal(expected, given.SingleOrDefault(r => r.Name == "shop.test") is { } users ? string.Join(", ", users.Values) : null);
        Assert.Equal(["192.0.2.0"], given.Single(r => r.Name == "primary.shop.test").Values); // wherever the primary is, alive or not
    }

    [Fact]
    public void Decide_Hosts_AddressesStandTogetherAndAHostNameAlone()
    {
        Assert.Equal(["192.0.2.1", "2001:db8::1"], Users(new DnsGateway("a", ["2001:DB8::0001", "192.0.2.1"], true)));
        Assert.Equal(["192.0.2.1"], Users(new DnsGateway("a", ["lb.test"], true), new DnsGateway("b", ["192.0.2.1"], true)));
        Assert.Equal(["lb.test"], Users(new DnsGateway("a", ["LB.test."], true)));
        Assert.Equal(["b.test"], DnsAnswers.Decide("n", Ttl, [new("a", ["a.test"], true), new("b", ["b.test"], true)], "b").Single(r => r.Name == "n").Values);
    }

    [Fact]
    public void Decide_ServerHasJustStarted_WithdrawsNothingThatARegionStillHas()
    {
        DnsGateway[] gateways = [new("a", ["192.0.2.1"], false), new("b", ["192.0.2.2"], true)];
        Assert.Equal(["192.0.2.1", "192.0.2.2"], DnsAnswers.Decide("n", Ttl, gateways, null, kept: ["192.0.2.1", "192.0.2.9"]).Single().Values);
    }

    [Fact]
    public void Decide_AnyGateways_OnlyTheLivingAreGivenAndNeverNobodyWhileOneLives() =>
        Gen.Select(Gen.Bool, Gen.Bool, Gen.Int[0, 2]).Array[0, 6].Sample(states =>
        {
            var gateways = states.Select((s, i) => new DnsGateway($"r{i}", [$"192.0.2.{i}", $"2001:db8::{i + 1}"], s.Item1, s.Item2, s.Item3)).ToList();
            var given = DnsAnswers.Decide("n", Ttl, gateways, "r0");
            var users = given.SingleOrDefault(r => r.Name == "n");
            Assert.Equal(gateways.Exists(g => g.Live), users is not null);
            Assert.All(users?.Values ?? [], value => Assert.True(gateways.Single(g => g.Hosts.Contains(value)).Live));
            Assert.Equal(gateways.Count > 0, given.Any(r => r.Name == "primary.n"));
        });

    [Fact]
    public void Decide_WrittenAndRead_SaysWhatToDo()
    {
        var wanted = DnsRecord.Of("n", Ttl, ["192.0.2.2", "192.0.2.1"]);
        var written = new DnsWritten { Name = "n", Values = wanted.Values, Ttl = Ttl, Driver = "exec", At = Now, SettledAt = Now };
        DnsReading right = new("a:53", ["192.0.2.1", "192.0.2.2"]), wrong = new("b:53", ["192.0.2.9"]), silent = new("b:53", null, "no answer");
        DnsDecision Decide(DnsWritten? w, TimeSpan after, params DnsReading[] readings) => DnsDecision.Decide(wanted, "exec", w, readings, Now + after);

        Assert.IsType<DnsDecision.Settled>(Decide(written, default, right));
        Assert.Equal(new DnsDecision.Write { Reason = "n was not written yet" }, Decide(null, default, right)); // what stands there by chance is not ours
        Assert.IsType<DnsDecision.Write>(Decide(written with { Driver = "file" }, default, right));
        Assert.IsType<DnsDecision.Write>(Decide(written with { Values = ["192.0.2.1"] }, default, right));
        Assert.IsType<DnsDecision.Write>(Decide(written with { Ttl = TimeSpan.FromSeconds(6) }, default, right));
        Assert.True(Assert.IsType<DnsDecision.Write>(Decide(written, default, right, wrong)).ByHand); // all had answered it
        Assert.IsType<DnsDecision.Wait>(Decide(written with { SettledAt = null }, DnsDecision.SpreadMax - TimeSpan.FromTicks(1), right, wrong));
        Assert.False(Assert.IsType<DnsDecision.Write>(Decide(written with { SettledAt = null }, DnsDecision.SpreadMax, right, wrong)).ByHand);
        Assert.IsType<DnsDecision.Wait>(Decide(written, default, right, silent)); // unknown is not wrong
        Assert.IsType<DnsDecision.Wait>(Decide(written, default));
    }

    [Fact]
    public void Alert_Trouble_IsToldWhenItWillNotPassAndIsCriticalWhenUsersGoToADeadRegion()
    {
        var wanted = DnsRecord.Of("primary.shop.test", Ttl, ["192.0.2.2"]);
        DnsFault away = new(DnsFaultKind.Unreachable, "s", "No answer.", "See."), refused = new(DnsFaultKind.Refused, "s", "The key may not.", "Grant it.");
        DnsReading right = new("a:53", ["192.0.2.2"]), wrong = new("a:53", ["192.0.2.1"]);
        Core.Alerting.Alert? Tell(DnsFault? fault, DnsReading reading, TimeSpan since, params string[] dead) => DnsAlerts.Decide(wanted, fault, [reading], since, dead);

        Assert.Null(Tell(null, right, TimeSpan.FromHours(1)));
        Assert.Null(Tell(null, wrong, DnsAlerts.Patience - TimeSpan.FromTicks(1)));
        Assert.Null(Tell(away, wrong, TimeSpan.Zero));
        Assert.Equal(Core.Alerting.AlertSeverity.Warning, Tell(away, wrong, DnsAlerts.Patience)!.Severity);
        var told = Tell(refused, wrong, TimeSpan.Zero)!;
        Assert.Equal(("dns_record/primary.shop.test", Core.Alerting.AlertSeverity.Warning), (told.Key, told.Severity));
        Assert.Equal("It should answer 192.0.2.2. a:53 answers 192.0.2.1. The key may not. Grant it.", told.Details);
        Assert.Equal(Core.Alerting.AlertSeverity.Critical, Tell(null, wrong, DnsAlerts.Patience, "192.0.2.1")!.Severity);
    }

    [Theory]
    [InlineData("10.0.0.53", "10.0.0.53", 53)]
    [InlineData("10.0.0.53:5353", "10.0.0.53", 5353)]
    [InlineData("ns1.example.org:54", "ns1.example.org", 54)]
    [InlineData("2001:db8::1", "2001:db8::1", 53)]
    [InlineData("[2001:db8::1]:54", "2001:db8::1", 54)]
    [InlineData("[2001:db8::1]", "2001:db8::1", 53)]
    [InlineData("10.0.0.53:0", null, 0)]
    [InlineData("10.0.0.53:", null, 0)]
    [InlineData("[ns1]:53", null, 0)]
    [InlineData("[2001:db8::1]53", null, 0)]
    [InlineData("a b", null, 0)]
    [InlineData("", null, 0)]
    public void ServerAddress_Text_IsReadOrRefused(string text, string? host, int port)
    {
        Assert.Equal(host is not null, ServerAddress.TryParse(text, out var address));
        if (host is not null)
            Assert.Equal((host, port), (address.Host, address.Port));
    }

    [Fact]
    public void Gateway_OfARegion_FollowsPolicyAndHealth()
    {
        var region = new RegionDefinition { Code = "a", Name = "a", Role = RegionRole.Primary, Endpoint = "http://[2001:db8::7]:8080", Location = default };
        var rules = new DnsRules { Weights = new Dictionary<string, int> { ["a"] = 7 } };
        Assert.Equivalent(new DnsGateway("a", ["2001:db8::7"], true, false, 7), DnsGateway.Of(region, rules, true, HealthState.Degraded));
        Assert.Equivalent(new DnsGateway("a", ["192.0.2.1"], false), DnsGateway.Of(region, new DnsRules { Addresses = new Dictionary<string, IReadOnlyList<string>> { ["a"] = ["192.0.2.1"] } }, true, HealthState.Unhealthy));
        Assert.True(DnsGateway.Of(region, rules, true, HealthState.Draining) is { Live: true, Draining: true });
        Assert.False(DnsGateway.Of(region, rules, false, HealthState.Healthy).Live);
    }

    private static IReadOnlyList<string> Users(params DnsGateway[] gateways) => DnsAnswers.Decide("n", Ttl, gateways, null).Single().Values;
}
