using System.Buffers.Binary;
using System.Net;
using System.Text;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using CsCheck;

namespace BuildRunner.Core.Tests.Recovery;

/// <summary>The embedded server's answers, byte by byte; real clients ask it in the room's tests.</summary>
public class DnsResponderTests
{
    private const int A = 1, Ns = 2, Cname = 5, Soa = 6, Txt = 16, Aaaa = 28, Axfr = 252, Any = 255;
    private static readonly GeoPoint Virginia = new(38.9, -77.4), Frankfurt = new(50.1, 8.7), Berlin = new(52.5, 13.4);
    private static readonly IPAddress From = IPAddress.Parse("10.0.0.9");

    private static readonly DnsZone Zone = new()
    {
        Name = "shop.test",
        Serial = 7,
        NameServers = ["ns.shop.test"],
        Records = new[]
        {
            DnsRecord.Of("shop.test", TimeSpan.FromSeconds(5), ["192.0.2.1", "192.0.2.2", "2001:db8::1"]), DnsRecord.Of("primary.shop.test", TimeSpan.FromSeconds(5), ["192.0.2.1"]),
            DnsRecord.Of("deep.under.shop.test", TimeSpan.FromSeconds(5), ["192.0.2.3"]), DnsRecord.Of("alias.shop.test", TimeSpan.FromSeconds(5), ["lb.test"]),
        }.ToDictionary(r => r.Name),
        Targets = new Dictionary<string, DnsTarget> { ["192.0.2.1"] = new(Virginia, 0), ["192.0.2.2"] = new(Frankfurt, 3), ["2001:db8::1"] = new(Virginia, 1) },
        Choice = DnsChoice.Nearest,
    };

    [Theory]
    [InlineData("primary.shop.test", A, 0, 1, 0, true)]
    [InlineData("PRIMARY.Shop.TEST", A, 0, 1, 0, true)]
    [InlineData("shop.test", A, 0, 2, 0, true)]
    [InlineData("shop.test", Aaaa, 0, 1, 0, true)]
    [InlineData("shop.test", Soa, 0, 1, 0, true)]
    [InlineData("shop.test", Ns, 0, 1, 0, true)]
    [InlineData("shop.test", Any, 0, 5, 0, true)]
    [InlineData("alias.shop.test", A, 0, 1, 0, true)] // its CNAME
    [InlineData("alias.shop.test", Cname, 0, 1, 0, true)]
    [InlineData("shop.test", Txt, 0, 0, 1, true)] // nothing of that type, with the SOA
    [InlineData("primary.shop.test", Aaaa, 0, 0, 1, true)]
    [InlineData("under.shop.test", A, 0, 0, 1, true)] // stands between
    [InlineData("no.shop.test", A, 3, 0, 1, true)]
    [InlineData("example.org", A, 5, 0, 0, false)]
    [InlineData("myshop.test", A, 5, 0, 0, false)]
    [InlineData("test", A, 5, 0, 0, false)]
    [InlineData("", Ns, 5, 0, 0, false)]
    [InlineData("shop.test", Axfr, 5, 0, 0, false)]
    public void Answer_Question_HasCodeAndSections(string name, int type, int code, int answers, int authority, bool own)
    {
        var read = Read(DnsResponder.Answer(Zone, Query(name, type), From, false, _ => null, 0)!);
        Assert.Equal((code, answers, authority, own), (read.Code, read.Answers.Count, read.Authority.Count, read.Authoritative));
        Assert.Equal((true, false, false), (read.IsResponse, read.Truncated, read.RecursionAvailable));
        Assert.Equal((0x1234, 1), (read.Id, read.Questions));
        Assert.All(read.Answers.Concat(read.Authority), r => Assert.Equal(5, r.Ttl));
        if (authority > 0)
            Assert.Equal(Soa, read.Authority[0].Type);
    }

    [Fact]
    public void Answer_NoZoneYet_IsRefused() => Assert.Equal(5, Read(DnsResponder.Answer(null, Query("shop.test", A), From, false, _ => null, 0)!).Code);

    [Fact]
    public void Answer_ChaosClass_IsRefused()
    {
        var query = Query("shop.test", A);
        query[^1] = 3;
        Assert.Equal(5, Read(DnsResponder.Answer(Zone, query, From, false, _ => null, 0)!).Code);
    }

    [Fact]
    public void Answer_UpdateAndTwoQuestions_AreNotForUs()
    {
        var update = Query("shop.test", Soa);
        update[2] = 5 << 3;
        Assert.Equal((4, 0), (Read(DnsResponder.Answer(Zone, update, From, false, _ => null, 0)!).Code, Read(DnsResponder.Answer(Zone, update, From, false, _ => null, 0)!).Questions));
        var two = Query("shop.test", A);
        two[5] = 2;
        Assert.Equal(1, Read(DnsResponder.Answer(Zone, two, From, false, _ => null, 0)!).Code);
    }

    [Fact]
    public void Answer_AResponse_IsDropped()
    {
        var response = Query("shop.test", A);
        response[2] |= 0x80; // two servers must not talk to each other for ever
        Assert.Null(DnsResponder.Answer(Zone, response, From, false, _ => null, 0));
        Assert.Null(DnsResponder.AskOverTcp(response));
        Assert.Null(DnsResponder.Answer(Zone, [1, 2, 3], From, false, _ => null, 0));
    }

    [Fact]
    public void Answer_TooLong_IsCutOverUdpAndWholeOverTcp()
    {
        var many = Zone with { Records = new Dictionary<string, DnsRecord> { ["shop.test"] = DnsRecord.Of("shop.test", TimeSpan.FromSeconds(5), Enumerable.Range(0, 100).Select(i => $"192.0.2.{i}")) }, Targets = new Dictionary<string, DnsTarget>() };
        foreach (var (query, limit) in new[] { (Query("shop.test", A), 512), (Query("shop.test", A, size: 4096), 1232), (Query("shop.test", A, size: 100), 512) })
        {
            var cut = DnsResponder.Answer(many, query, From, false, _ => null, 0)!;
            Assert.True(cut.Length <= limit);
            Assert.Equal((true, 0), (Read(cut).Truncated, Read(cut).Answers.Count));
            Assert.Equal((false, 100), (Read(DnsResponder.Answer(many, query, From, true, _ => null, 0)!).Truncated, Read(DnsResponder.Answer(many, query, From, true, _ => null, 0)!).Answers.Count));
        }
        var short_ = DnsResponder.AskOverTcp(Query("shop.test", A, size: 4096))!;
        Assert.True(Read(short_).Truncated && short_.Length <= Query("shop.test", A).Length);
    }

    [Theory]
    [InlineData(DnsChoice.Nearest, "81.169.145.0/24", "192.0.2.2", 24)] // Berlin: Frankfurt is nearer
    [InlineData(DnsChoice.Nearest, "81.169.145.4/32", "192.0.2.2", 24)] // no finer than /24 is kept
    [InlineData(DnsChoice.Nearest, "81.169.0.0/16", "192.0.2.2", 16)]
    [InlineData(DnsChoice.Nearest, "10.0.0.0/8", "192.0.2.1 192.0.2.2", 8)] // nobody knows where: all, for that subnet only
    [InlineData(DnsChoice.Nearest, "0.0.0.0/0", "192.0.2.1 192.0.2.2", 0)] // do not look at where I am
    [InlineData(DnsChoice.All, "81.169.145.0/24", "192.0.2.1 192.0.2.2", 0)]
    public void Answer_ClientSubnet_GetsTheNearestAndSaysForWhom(DnsChoice choice, string subnet, string expected, int scope)
    {
        var network = subnet.Split('/');
        var read = Read(DnsResponder.Answer(Zone with { Choice = choice }, Query("shop.test", A, 1232, Subnet(network[0], int.Parse(network[1]))), From, false, Place, 0)!);
        Assert.Equal(expected, string.Join(' ', read.Answers.Select(r => r.Text).Order()));
        Assert.Equal((int.Parse(network[1]), scope), (read.Subnet!.Value.Prefix, read.Subnet.Value.Scope));
        Assert.Equal(1232, read.Size);
    }

    [Fact]
    public void Answer_SubnetButOneAddress_HoldsForEverybody() =>
        Assert.Equal(0, Read(DnsResponder.Answer(Zone, Query("primary.shop.test", A, 1232, Subnet("81.169.145.0", 24)), From, false, Place, 0)!).Subnet!.Value.Scope);

    [Fact]
    public void Answer_NoSubnet_LooksAtTheResolver()
    {
        Assert.Equal(["192.0.2.2"], Read(DnsResponder.Answer(Zone, Query("shop.test", A), IPAddress.Parse("81.169.145.4"), false, Place, 0)!).Answers.Select(r => r.Text));
        Assert.Null(Read(DnsResponder.Answer(Zone, Query("shop.test", A, 1232), IPAddress.Parse("81.169.145.4"), false, Place, 0)!).Subnet);
    }

    [Theory]
    [InlineData("00010900aabb")] // one bit too many set past the prefix, and a byte too many
    [InlineData("0001090055ff")]
    [InlineData("0003080055")] // no such family
    [InlineData("00012100ffffffffff")] // more bits than an address has
    [InlineData("0001081855")] // a query gives no scope
    [InlineData("0001")]
    public void Answer_BadSubnet_IsAFormatError(string option) =>
        Assert.Equal(1, Read(DnsResponder.Answer(Zone, Query("shop.test", A, 1232, (8, Convert.FromHexString(option))), From, false, Place, 0)!).Code);

    [Fact]
    public void Answer_NewerEdns_IsBadVersion()
    {
        var query = Query("shop.test", A, 1232);
        query[^5] = 1;
        var read = Read(DnsResponder.Answer(Zone, query, From, false, Place, 0)!);
        Assert.Equal((0, 1), (read.Code, read.ExtendedCode));
    }

    [Fact]
    public void Answer_Weighted_FollowsTheWeightsAndGivesNoneToZero()
    {
        var zone = Zone with { Choice = DnsChoice.Weighted, Targets = new Dictionary<string, DnsTarget> { ["192.0.2.1"] = new(Virginia, 1), ["192.0.2.2"] = new(Frankfurt, 3) } };
        string One(DnsZone z, double chance) => Assert.Single(Read(DnsResponder.Answer(z, Query("shop.test", A), From, false, Place, chance)!).Answers).Text;
        Assert.Equal(25, Enumerable.Range(0, 100).Count(i => One(zone, i / 100.0) == "192.0.2.1"));
        Assert.Equal("192.0.2.2", One(zone, 1));
        Assert.All(Enumerable.Range(0, 101), i => Assert.Equal("192.0.2.2", One(Zone with { Choice = DnsChoice.Weighted }, i / 100.0)));
        // Read-back sees the whole set, whatever the choice.
        Assert.Equal(2, Read(DnsResponder.Answer(zone, Query("shop.test", A, 1232, (DnsResponder.WholeOption, [])), From, false, Place, 0)!).Answers.Count);
    }

    [Fact]
    public void Zone_OfAPolicy_KnowsItsServersAndWhereAddressesStand()
    {
        var policy = new PolicyDocument
        {
            Dns = new DnsRules { Driver = "embedded", Name = "Shop.test", Listen = "192.0.2.53:53", Weights = new Dictionary<string, int> { ["b"] = 5 } },
            Regions = [Region("a", "192.0.2.1", Virginia), Region("b", "192.0.2.2", Frankfurt)],
        };
        var zone = DnsZone.Of(policy, [.. Zone.Records.Values, DnsRecord.Of("old.example", default, ["192.0.2.7"])], 9);
        Assert.Equal(("shop.test", 9u), (zone.Name, zone.Serial));
        Assert.False(zone.Records.ContainsKey("old.example"));
        Assert.Equal(["192.0.2.53"], zone.Records[Assert.Single(zone.NameServers)].Values);
        Assert.Equal(new DnsTarget(Frankfurt, 5), zone.Targets["192.0.2.2"]);
    }

    [Fact]
    public void Answer_AnyBytes_NeverThrowsAndNeverAnswersTooMuch() =>
        Gen.Select(Gen.Byte.Array[0, 300], Gen.Bool).Sample((bytes, tcp) => Judge(bytes, tcp), iter: 30_000);

    [Fact]
    public void Answer_AQueryWithBytesChanged_NeverThrowsAndNeverAnswersTooMuch() =>
        Gen.Select(Gen.Int[0, 3], Gen.Select(Gen.Int[0, 400], Gen.Byte).Array[0, 8], Gen.Int[0, 80]).Sample((which, changes, cut) =>
        {
            var bytes = which switch
            {
                0 => Query("shop.test", A),
                1 => Query("shop.test", A, 1232, Subnet("81.169.145.0", 24)),
                2 => Query("a.very.long.name.that.is.not.there.shop.test", Any, 4096, (10, new byte[8])),
                _ => Query("alias.shop.test", Cname, 512, (DnsResponder.WholeOption, [])),
            };
            foreach (var (at, value) in changes)
                bytes[at % bytes.Length] = value;
            Judge(bytes[..Math.Max(0, bytes.Length - (cut < 60 ? 0 : cut - 60))], tcp: false);
        }, iter: 30_000);

    private static void Judge(byte[] query, bool tcp)
    {
        var answer = DnsResponder.Answer(Zone, query, From, tcp, Place, 0.5);
        _ = DnsResponder.AskOverTcp(query);
        if (answer is null)
            return;
        Assert.True(answer.Length <= (tcp ? 65_535 : 1232));
        Assert.Equal(query[..2], answer[..2]);
        Assert.True((answer[2] & 0x80) != 0);
        Read(answer); // well-formed
    }

    private static RegionDefinition Region(string code, string host, GeoPoint place) => new() { Code = code, Name = code, Role = RegionRole.Replica, Endpoint = $"http://{host}:80", Location = place };

    private static GeoPoint? Place(IPAddress address) => address.ToString().StartsWith("81.", StringComparison.Ordinal) ? Berlin : null;

    private static (int, byte[]) Subnet(string address, int prefix) => (8, [0, 1, (byte)prefix, 0, .. IPAddress.Parse(address).GetAddressBytes()[..((prefix + 7) / 8)]]);

    private static byte[] Query(string name, int type, int? size = null, params (int Code, byte[] Data)[] options)
    {
        var to = new List<byte> { 0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, (byte)(size is null ? 0 : 1) };
        foreach (var label in name.Split('.', StringSplitOptions.RemoveEmptyEntries))
            to.AddRange([(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]);
        to.AddRange([0, (byte)(type >> 8), (byte)type, 0, 1]);
        if (size is { } bytes)
        {
            var length = options.Sum(o => 4 + o.Data.Length);
            to.AddRange([0, 0, 41, (byte)(bytes >> 8), (byte)bytes, 0, 0, 0, 0, (byte)(length >> 8), (byte)length]);
            foreach (var (code, data) in options)
                to.AddRange([(byte)(code >> 8), (byte)code, (byte)(data.Length >> 8), (byte)data.Length, .. data]);
        }
        return [.. to];
    }

    private sealed record Rr(int Type, int Ttl, string Text);

    private sealed record Message(int Id, bool IsResponse, bool Authoritative, bool Truncated, bool RecursionAvailable, int Code, int Questions, List<Rr> Answers, List<Rr> Authority, int ExtendedCode, int Size, (int Prefix, int Scope)? Subnet);

    private static Message Read(byte[] m)
    {
        int Short(int at) => BinaryPrimitives.ReadUInt16BigEndian(m.AsSpan(at));
        var at = 12;
        for (var i = 0; i < Short(4); i++)
            at = Skip(m, at) + 4;
        var sections = new[] { new List<Rr>(), new List<Rr>(), new List<Rr>() };
        var (extended, size, subnet) = (0, 0, ((int, int)?)null);
        for (var s = 0; s < 3; s++)
        {
            for (var i = 0; i < Short(6 + (s * 2)); i++)
            {
                at = Skip(m, at);
                var (type, length) = (Short(at), Short(at + 8));
                var data = m.AsSpan(at + 10, length);
                if (type == 41)
                {
                    (size, extended) = (Short(at + 2), m[at + 4]);
                    if (length > 0)
                        subnet = (data[6], data[7]);
                }
                sections[s].Add(new(type, BinaryPrimitives.ReadInt32BigEndian(m.AsSpan(at + 4)), length is 4 or 16 && type is A or Aaaa ? new IPAddress(data).ToString() : ""));
                at += 10 + length;
            }
        }
        Assert.Equal(m.Length, at);
        return new(Short(0), (m[2] & 0x80) != 0, (m[2] & 4) != 0, (m[2] & 2) != 0, (m[3] & 0x80) != 0, m[3] & 15, Short(4), sections[0], sections[1], extended, size, subnet);
    }

    private static int Skip(byte[] m, int at)
    {
        while (m[at] is > 0 and < 0xC0)
            at += 1 + m[at];
        return at + (m[at] == 0 ? 1 : 2);
    }
}
