using System.Net;
using System.Text;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;
using CsCheck;
using static BuildRunner.Core.Tests.Routing.TestTable;

namespace BuildRunner.Core.Tests.Routing;

public class RoutePartsTests
{
    [Theory]
    [InlineData("/api/orders", "/api/orders", true)]
    [InlineData("/api/orders", "/api/orders/", true)]
    [InlineData("/api/orders", "/API//Orders", true)]
    [InlineData("/api/orders", "/api/orders/1", false)]
    [InlineData("/api/orders", "/api", false)]
    [InlineData("/api/orders/*", "/api/orders/1", true)]
    [InlineData("/api/orders/*", "/api/orders", false)]
    [InlineData("/api/orders/*", "/api/orders/1/2", false)]
    [InlineData("/assets/**", "/assets", true)]
    [InlineData("/assets/**", "/assets/a/b/c.css", true)]
    [InlineData("/assets/**", "/assetsx", false)]
    [InlineData("/**", "/", true)]
    [InlineData("/", "/", true)]
    [InlineData("/", "/x", false)]
    [InlineData("/*/items", "/a/items", true)]
    public void Matches_Pattern_Path(string pattern, string path, bool matches) => Assert.Equal(matches, new RoutePattern(pattern).Matches(path));

    [Theory]
    [InlineData("")]
    [InlineData("api")]
    [InlineData("/api/o*")]
    [InlineData("/**/x")]
    [InlineData("/api?x=1")]
    public void Fault_WrongPattern_SaysWhatToWrite(string pattern) => Assert.Contains("/api/orders/*", RoutePattern.Fault(pattern), StringComparison.Ordinal);

    [Theory]
    [InlineData("/api/search", "/api/search")]
    [InlineData("/api/orders/7", "/api/**")]
    [InlineData("/assets/a.css", "/assets/**")]
    [InlineData("/other", "/**")]
    [InlineData("/reports/sales", "/reports/**")]
    public void Match_SeveralFit_TheMostSpecificWins(string path, string pattern) => Assert.Equal(pattern, new RoutingView(Make()).Match(path)!.Route.Pattern);

    [Theory]
    [InlineData("203.0.113.9", "198.51.100.1", "203.0.113.9")] // an untrusted peer says what it likes
    [InlineData("127.0.0.1", "198.51.100.1", "198.51.100.1")]
    [InlineData("127.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1")] // what stands left of the first stranger is hearsay
    [InlineData("127.0.0.1", "198.51.100.1, 127.0.0.9", "198.51.100.1")]
    [InlineData("127.0.0.1", "127.0.0.8, 127.0.0.9", "127.0.0.8")]
    [InlineData("127.0.0.1", "nonsense, 127.0.0.9", "127.0.0.9")]
    [InlineData("127.0.0.1", "42", "127.0.0.1")]
    [InlineData("127.0.0.1", "198.51.100.1:4711", "198.51.100.1")]
    [InlineData("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7")]
    [InlineData("127.0.0.1", "2001:db8::7", "2001:db8::7")]
    [InlineData("::ffff:127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1")]
    [InlineData("127.0.0.1", "", "127.0.0.1")]
    public void Client_ForwardedFor_WalksFromTheRightOverTrustedOnly(string peer, string header, string client) =>
        Assert.Equal(IPAddress.Parse(client), ForwardedFor.Client(IPAddress.Parse(peer), [header], [IPNetwork.Parse("127.0.0.0/8")]));

    [Fact]
    public void Client_SeveralHeaders_AreOneList() =>
        Assert.Equal(IPAddress.Parse("198.51.100.1"), ForwardedFor.Client(IPAddress.Loopback, ["6.6.6.6", "198.51.100.1, 127.0.0.2"], [IPNetwork.Parse("127.0.0.0/8")]));

    private static readonly byte[] Key = Encoding.UTF8.GetBytes("0123456789abcdef0123456789abcdef");
    private static readonly byte[] OldKey = Encoding.UTF8.GetBytes("fedcba9876543210fedcba9876543210");

    [Fact]
    public void AffinityCookie_Issued_IsReadUntilItExpires()
    {
        var text = AffinityCookie.Issue("eu-west-1", Now, TimeSpan.FromMinutes(30), OldKey);
        Assert.Equal("eu-west-1", AffinityCookie.Read(text, Now.AddMinutes(30).AddSeconds(-1), [Key, OldKey])?.Region);
        Assert.Null(AffinityCookie.Read(text, Now.AddMinutes(30), [Key, OldKey]));
        Assert.Null(AffinityCookie.Read(text, Now, [Key]));
        Assert.Null(AffinityCookie.Read(text, Now, []));
    }

    [Fact]
    public void AffinityCookie_AnyChange_IsAForgery()
    {
        var text = AffinityCookie.Issue("eu-west-1", Now, TimeSpan.FromMinutes(30), Key);
        Gen.Select(Gen.Int[0, text.Length - 1], Gen.Char[' ', '~']).Sample((at, letter) =>
        {
            var forged = text[..at] + letter + text[(at + 1)..];
            return forged == text || AffinityCookie.Read(forged, Now, [Key]) is null || SameMac(forged, text);
        });
        Gen.String.Sample(anything => AffinityCookie.Read(anything, Now, [Key]) is null);
        Assert.Null(AffinityCookie.Read(text.Replace("eu-west-1", "us-east-1", StringComparison.Ordinal), Now, [Key]));
    }

    /// <summary>The last letter of base64 has spare bits: another spelling of the same signature of the same text is no forgery.</summary>
    private static bool SameMac(string a, string b) => a[..^1] == b[..^1];

    [Fact]
    public void AffinityCookie_Slides_ButNotOnEveryAnswer()
    {
        var life = TimeSpan.FromMinutes(30);
        var claim = new AffinityClaim("eu-west-1", Now, Now + life);
        Assert.True(AffinityCookie.ShouldIssue(null, "eu-west-1", Now, life));
        Assert.True(AffinityCookie.ShouldIssue(claim, "us-east-1", Now, life));
        Assert.False(AffinityCookie.ShouldIssue(claim, "eu-west-1", Now.AddMinutes(3).AddSeconds(-1), life));
        Assert.True(AffinityCookie.ShouldIssue(claim, "eu-west-1", Now.AddMinutes(3), life));
        Assert.False(AffinityCookie.ShouldIssue(null, "eu-west-1", Now, TimeSpan.Zero));
    }

    [Fact]
    public void TrackChoice_SharesByWeight_AndAGrowingCanaryKeepsItsClients()
    {
        var service = Make().Services[0] with { Tracks = [new("stable", 90), new("canary", 10)] };
        var canary = Enumerable.Range(0, 10_000).Where(i => TrackChoice.Choose(service, (ulong)i) == "canary").ToList();
        Assert.InRange(canary.Count, 850, 1_150);
        var more = service with { Tracks = [new("stable", 75), new("canary", 25)] };
        Assert.All(canary, i => Assert.Equal("canary", TrackChoice.Choose(more, (ulong)i)));
        Assert.Equal("stable", TrackChoice.Choose(service with { Tracks = [] }, 1));
    }

    [Fact]
    public void InstanceChoice_TakesTheLessBusyOfTwoHealthy() =>
        Gen.Select(Gen.ULong, Gen.Enum<HealthState>().Array[1, 6], Gen.Int[0, 9].Array[6]).Sample((chance, healths, busy) =>
        {
            var instances = healths.Select((h, i) => new InstanceRow { Region = "r", Id = $"i{i}", Address = $"a{i}", Version = "v1", Health = h, Track = i % 2 == 0 ? "stable" : "canary" }).ToList();
            int Busy(InstanceRow i) => busy[int.Parse(i.Id[1..], System.Globalization.CultureInfo.InvariantCulture)];
            var chosen = InstanceChoice.Choose(instances, "stable", Busy, chance);
            var healthy = instances.Where(i => i.Health is HealthState.Healthy or HealthState.Degraded).ToList();
            var usable = instances.Where(i => i.Health is HealthState.Healthy or HealthState.Degraded or HealthState.Unknown).ToList();
            if (usable.Count == 0)
                return chosen is null;
            var ofTrack = healthy.Where(i => i.Track == "stable").ToList();
            return ofTrack.Count > 0 ? ofTrack.Contains(chosen!) && (ofTrack.Count != 2 || Busy(chosen!) == ofTrack.Min(Busy))
                : healthy.Count > 0 ? healthy.Contains(chosen!)
                : usable.Contains(chosen!);
        });

    [Fact]
    public void InstanceChoice_Avoid_OnlyWhileThereIsAnother()
    {
        var two = Make().Services[0].Instances.Take(2).ToList();
        for (ulong i = 0; i < 50; i++)
            Assert.Equal("api-2", InstanceChoice.Choose(two, "stable", _ => 0, i, avoid: "api-1")!.Id);
        Assert.Equal("api-1", InstanceChoice.Choose([two[0]], "stable", _ => 0, 3, avoid: "api-1")!.Id);
    }
}
