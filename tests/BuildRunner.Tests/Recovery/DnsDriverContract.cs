using System.Net;
using ARSoft.Tools.Net.Dns;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Recovery;

/// <summary>What every DNS driver does, against the real thing.</summary>
public abstract class DnsDriverContract : IAsyncLifetime
{
    protected const string Name = "shop.br.test";
    private const string Primary = "primary.shop.br.test";
    private static readonly TimeSpan Ttl = TimeSpan.FromSeconds(60);

    protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

    internal abstract IDnsDriver Driver { get; }

    /// <summary>Whether the driver can tell that nothing was to be changed.</summary>
    protected virtual bool Compares => true;

    public abstract ValueTask InitializeAsync();

    public abstract ValueTask DisposeAsync();

    /// <summary>Somebody sets a name of ours to another address, past the driver.</summary>
    protected abstract Task ChangeByHandAsync(string name, string address);

    /// <summary>What is read cannot be read any more.</summary>
    protected abstract Task StopAsync();

    [Fact(Timeout = 60_000)]
    public async Task Apply_NewName_EveryServerAnswersIt()
    {
        Assert.All(await Driver.ReadAsync(Name, Cancel), r => Assert.Equal([], r.Values!));
        Assert.True(await WriteAsync(Name, 3, "192.0.2.2", "192.0.2.1"));
        await AnswersAsync(Name, "192.0.2.1", "192.0.2.2");
        Assert.All(await Driver.ReadAsync(Primary, Cancel), r => Assert.Equal([], r.Values!));
    }

    [Fact(Timeout = 60_000)]
    public async Task Apply_Again_ChangesNothing()
    {
        Assert.True(await WriteAsync(Name, 3, "192.0.2.1", "2001:db8::1"));
        await AnswersAsync(Name, "192.0.2.1", "2001:db8::1");
        Assert.Equal(!Compares, await WriteAsync(Name, 3, "2001:DB8::1", "192.0.2.1"));
        await AnswersAsync(Name, "192.0.2.1", "2001:db8::1");
    }

    [Fact(Timeout = 60_000)]
    public async Task Apply_OtherValues_ReplaceAllOfEveryFamily()
    {
        await WriteAsync(Name, 3, "192.0.2.1", "192.0.2.2", "2001:db8::1");
        await WriteAsync(Primary, 3, "192.0.2.1");
        await WriteAsync(Name, 3, "192.0.2.3", "192.0.2.2");
        await AnswersAsync(Name, "192.0.2.2", "192.0.2.3");
        await AnswersAsync(Primary, "192.0.2.1"); // the other name is left alone
        await WriteAsync(Name, 3, "2001:db8::2");
        await AnswersAsync(Name, "2001:db8::2");
    }

    [Fact(Timeout = 60_000)]
    public async Task Apply_AddressToHostNameAndBack_NeverHoldsBoth()
    {
        await WriteAsync(Primary, 3, "192.0.2.1");
        await WriteAsync(Primary, 3, "lb.example.org");
        await AnswersAsync(Primary, "lb.example.org");
        await WriteAsync(Primary, 3, "192.0.2.1");
        await AnswersAsync(Primary, "192.0.2.1");
    }

    [Fact(Timeout = 60_000)]
    public async Task Apply_ChangedByHand_IsPutBack()
    {
        await WriteAsync(Name, 3, "192.0.2.1");
        await AnswersAsync(Name, "192.0.2.1");
        await ChangeByHandAsync(Name, "192.0.2.66");
        await AnswersAsync(Name, "192.0.2.66");
        await WriteAsync(Name, 3, "192.0.2.1");
        await AnswersAsync(Name, "192.0.2.1");
    }

    [Fact(Timeout = 60_000)]
    public async Task Apply_OlderToken_IsRefusedAndANewerTakesOver()
    {
        await WriteAsync(Name, 3, "192.0.2.1");
        var fault = await FaultAsync(Name, 2, "192.0.2.2");
        Assert.Equal(DnsFaultKind.Superseded, fault.Kind);
        await AnswersAsync(Name, "192.0.2.1");
        await WriteAsync(Name, 4, "192.0.2.2");
        await AnswersAsync(Name, "192.0.2.2");
        Assert.Equal(DnsFaultKind.Superseded, (await FaultAsync(Name, 3, "192.0.2.1")).Kind);
    }

    [Fact(Timeout = 60_000)]
    public async Task Read_ServerIsAway_IsUnknownAndSaysWhy()
    {
        await WriteAsync(Name, 3, "192.0.2.1");
        await StopAsync();
        Assert.Contains(await Driver.ReadAsync(Name, Cancel), r => r is { Values: null, Error.Length: > 5 });
    }

    internal async Task<DnsFault> FaultAsync(string name, long token, params string[] values) =>
        Assert.IsType<DnsWrite.Failed>(await Driver.ApplyAsync(DnsRecord.Of(name, Ttl, values), new Fence("server", token), Cancel)).Fault;

    private async Task<bool> WriteAsync(string name, long token, params string[] values)
    {
        var wrote = await Driver.ApplyAsync(DnsRecord.Of(name, Ttl, values), await FenceAsync(token), Cancel);
        return wrote is DnsWrite.Done done ? done.Changed : throw new InvalidOperationException(wrote.ToString());
    }

    internal virtual Task<Fence?> FenceAsync(long token) => Task.FromResult<Fence?>(new Fence("server", token));

    private Task AnswersAsync(string name, params string[] values) => Eventually.TrueAsync(async () =>
    {
        var readings = await Driver.ReadAsync(name, Cancel);
        return readings.Count > 0 && readings.All(r => r.Values?.SequenceEqual(values) == true);
    }, $"every server answers {name} with {string.Join(", ", values)}", Cancel);

    internal static (HousePolicy Policy, AuthoritativeServers Servers) House(DnsRules rules)
    {
        var policy = new HousePolicy(new PolicyDocument { Dns = rules with { Name = Name, Ttl = Ttl } });
        return (policy, new AuthoritativeServers(policy, TimeProvider.System));
    }
}

public sealed class DnsEmbeddedTests : DnsDriverContract
{
    private readonly TempFolder _folder = new();
    private SqliteStore _store = null!;
    private DnsBook _book = null!;
    private EmbeddedDns _dns = null!;
    private long _given;

    internal override IDnsDriver Driver => _dns;

    public override async ValueTask InitializeAsync()
    {
        _store = SqliteStore.Open(_folder.File("state.db"), TimeProvider.System, NullLogger.Instance);
        _book = new DnsBook(_store);
        _dns = new EmbeddedDns(_book, House(new DnsRules { Driver = "embedded", Listen = "127.0.0.1:0" }).Policy, new NoGeo(), TimeProvider.System, NullLogger<EmbeddedDns>.Instance);
        await _dns.StartAsync(Cancel);
    }

    public override async ValueTask DisposeAsync()
    {
        await _dns.DisposeAsync();
        _store.Dispose();
        _folder.Dispose();
    }

    protected override async Task ChangeByHandAsync(string name, string address)
    {
        await _book.PutAsync(DnsRecord.Of(name, TimeSpan.FromSeconds(60), [address]), null, Cancel);
        await _dns.RefreshAsync(Cancel);
    }

    protected override Task StopAsync() => _dns.StopAsync(Cancel);

    /// <summary>The store's own lease, taken anew until it has that token.</summary>
    internal override async Task<Fence?> FenceAsync(long token)
    {
        while (_given < token)
        {
            var grant = (await _store.AcquireAsync("server", $"s{_given}", TimeSpan.FromMinutes(1), Cancel))!;
            _given = grant.Token;
            await _store.ReleaseAsync(grant, Cancel);
        }
        return new Fence("server", token);
    }

    [Fact(Timeout = 60_000)]
    public async Task Serial_EveryChange_Grows()
    {
        long before = 0;
        foreach (var (name, value) in new[] { (Name, "192.0.2.1"), (Name, "192.0.2.2"), ("primary." + Name, "192.0.2.2"), (Name, "192.0.2.1") })
        {
            await _dns.ApplyAsync(DnsRecord.Of(name, TimeSpan.FromSeconds(60), [value]), null, Cancel);
            var soa = Assert.Single((await DnsAsk.AnswerAsync(_dns.EndPoint!, ARSoft.Tools.Net.DomainName.Parse(Name), RecordType.Soa, false, Cancel))!.AnswerRecords.OfType<SoaRecord>());
            Assert.True(soa.SerialNumber > before);
            before = soa.SerialNumber;
        }
    }

    [Fact(Timeout = 60_000)]
    public async Task Refresh_PolicyChoosesAnotherDriver_StopsListening()
    {
        var policy = House(new DnsRules { Driver = "embedded", Listen = "127.0.0.1:0" }).Policy;
        await using var dns = new EmbeddedDns(_book, policy, new NoGeo(), TimeProvider.System, NullLogger<EmbeddedDns>.Instance);
        await dns.StartAsync(Cancel);
        Assert.NotNull(dns.EndPoint);
        policy.Current = policy.Current with { Dns = policy.Current.Dns with { Driver = "none" } };
        await dns.RefreshAsync(Cancel);
        Assert.Null(dns.EndPoint);
        policy.Current = policy.Current with { Dns = policy.Current.Dns with { Driver = "embedded", Listen = _dns.EndPoint!.ToString() } };
        await dns.RefreshAsync(Cancel); // taken by the other
        Assert.Contains("cannot listen", Assert.Single(await dns.ReadAsync(Name, Cancel)).Error, StringComparison.Ordinal);
        await dns.DisposeAsync(); // and again at the end: a container that knows it by two names does so
    }

    private sealed class NoGeo : BuildRunner.Server.Hosting.Geo.IGeoReader
    {
        public BuildRunner.Core.Routing.GeoPlace? Find(IPAddress address) => null;
    }
}

public sealed class DnsFileTests : DnsDriverContract
{
    private readonly TempFolder _folder = new();
    private HousePolicy _policy = null!;
    private FileDns _dns = null!;

    internal override IDnsDriver Driver => _dns;

    public override ValueTask InitializeAsync()
    {
        (_policy, var servers) = House(new DnsRules { Driver = "file", File = _folder.File("names") });
        _dns = new FileDns(_policy, servers);
        return ValueTask.CompletedTask;
    }

    public override ValueTask DisposeAsync()
    {
        _folder.Dispose();
        return ValueTask.CompletedTask;
    }

    protected override async Task ChangeByHandAsync(string name, string address) => await File.WriteAllTextAsync(_folder.File("names"), $"; by hand\n{name}. 60 IN A {address}\n", Cancel);

    protected override Task StopAsync()
    {
        File.Delete(_folder.File("names"));
        Directory.CreateDirectory(_folder.File("names")); // no file any more that could be read
        return Task.CompletedTask;
    }

    [Fact(Timeout = 30_000)]
    public async Task Apply_LinesOfOthers_Stay()
    {
        await File.WriteAllTextAsync(_folder.File("names"), "; mine\n@ 60 IN MX 10 mail.br.test.\nshop.br.test. 60 IN TXT \"hello there\"\n", Cancel);
        await _dns.ApplyAsync(DnsRecord.Of(Name, TimeSpan.FromSeconds(5), ["192.0.2.1"]), new Fence("server", 9), Cancel);
        Assert.Equal("; written by BuildRunner, token 9\n; mine\n@ 60 IN MX 10 mail.br.test.\nshop.br.test. 60 IN TXT \"hello there\"\nshop.br.test. 5 IN A 192.0.2.1\n", await File.ReadAllTextAsync(_folder.File("names"), Cancel));
    }

    [Fact(Timeout = 30_000)]
    public async Task Apply_FolderIsMissing_SaysWhatToDo()
    {
        _policy.Current = _policy.Current with { Dns = _policy.Current.Dns with { File = _folder.File("no/names") } };
        Assert.Contains("right to write", (await FaultAsync(Name, 1, "192.0.2.1")).Fix, StringComparison.Ordinal);
    }
}

/// <summary>Dynamic update against a real server.</summary>
public abstract class DnsUpdateContract(string kind) : DnsDriverContract
{
    private readonly TempFolder _folder = new();
    private HousePolicy _policy = null!;
    private protected Rfc2136Dns Dns { get; private set; } = null!;

    protected NameServer Server { get; private set; } = null!;

    internal override IDnsDriver Driver => Dns;

    public override async ValueTask InitializeAsync() => Use(await NameServer.StartAsync(kind));

    protected void Use(NameServer server, params NameServer[] others)
    {
        Server = server;
        File.WriteAllText(_folder.File("key"), NameServer.Key.Secret + "\n");
        (_policy, var servers) = House(new DnsRules
        {
            Driver = "rfc2136",
            Servers = others.Length == 0 ? [] : [server.EndPoint.ToString(), .. others.Select(o => o.EndPoint.ToString())], // else found by NS lookup
            Update = new Rfc2136Rules { Server = server.EndPoint.ToString(), KeyName = NameServer.Key.Name, Key = $"file:{_folder.File("key")}" },
        });
        Dns = new Rfc2136Dns(_policy, servers, TimeProvider.System);
    }

    public override async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await Server.DisposeAsync();
        _folder.Dispose();
    }

    protected override Task ChangeByHandAsync(string name, string address) => Server.SetAsync(name, address);

    protected override Task StopAsync() => Server.StopAsync();

    [Theory(Timeout = 60_000)]
    [InlineData("secret", DnsFaultKind.WrongKey, "its secret is not the one")]
    [InlineData("unknown", DnsFaultKind.WrongKey, "does not accept the key nobody")]
    [InlineData("refused", null, "the key br")] // BIND refuses; Knot says of a key without the right what it says of an unknown one
    [InlineData("no rights", null, "the key nothing")]
    [InlineData("zone", DnsFaultKind.NotAuthoritative, "keeps no zone with")]
    [InlineData("named zone", DnsFaultKind.NotAuthoritative, "is not authoritative for the zone")]
    [InlineData("away", DnsFaultKind.Unreachable, "does not answer")]
    [InlineData("no key", DnsFaultKind.Misconfigured, "cannot be read by the server")]
    [InlineData("bad key", DnsFaultKind.Misconfigured, "no key in base64")]
    [InlineData("no address", DnsFaultKind.Unreachable, "has no address here")]
    public async Task Apply_Mistake_IsNamedWithWhatToDo(string mistake, DnsFaultKind? kind, string says)
    {
        var rules = _policy.Current.Dns.Update;
        Rfc2136Rules Key(NameServerKey key)
        {
            File.WriteAllText(_folder.File("key"), key.Secret);
            return rules with { KeyName = key.Name };
        }

        var name = mistake switch { "zone" => "shop.example.org", "refused" => "elsewhere.br.test", _ => Name };
        var changed = mistake switch
        {
            "secret" => Key(NameServer.Root with { Name = NameServer.Key.Name }),
            "unknown" => Key(NameServer.Key with { Name = "nobody" }),
            "no rights" => Key(NameServer.Nothing),
            "named zone" => rules with { Zone = "example.org" },
            "no key" => rules with { Key = "file:/nowhere/key" },
            "bad key" => Key(new(NameServer.Key.Name, "not base64!")),
            "no address" => rules with { Server = "no-such-host.invalid" },
            _ => rules,
        };
        _policy.Current = _policy.Current with { Dns = _policy.Current.Dns with { Update = changed } };
        if (mistake == "away")
            await Server.StopAsync();
        var fault = await FaultAsync(name, 1, "192.0.2.1");
        Assert.Contains(says, fault.Message, StringComparison.Ordinal);
        Assert.Equal(kind ?? (Server.Kind == "bind" ? DnsFaultKind.Refused : DnsFaultKind.WrongKey), fault.Kind);
        Assert.True(fault.Fix.Length > 10);
        Assert.DoesNotContain(NameServer.Key.Secret[..10], fault.Message + fault.Fix, StringComparison.Ordinal);
        if (mistake != "away")
            Assert.Empty(await Server.AskAsync(Name));
    }

    [Fact(Timeout = 60_000)]
    public async Task Apply_NameOfSomebodyElse_IsLeftAloneUntilHandedOver()
    {
        await Server.SetAsync(Name, "192.0.2.50");
        var fault = await FaultAsync(Name, 1, "192.0.2.1");
        Assert.Equal(DnsFaultKind.Foreign, fault.Kind);
        Assert.Equal(["192.0.2.50"], await Server.AskAsync(Name));
        await Server.SetAsync(Name); // removed, as the message says
        Assert.IsType<DnsWrite.Done>(await Dns.ApplyAsync(DnsRecord.Of(Name, TimeSpan.FromSeconds(60), ["192.0.2.1"]), new Fence("server", 1), Cancel));
        Assert.Equal(["buildrunner token=1"], await Server.AskAsync("_buildrunner." + Name, RecordType.Txt));
        Assert.Equal(["192.0.2.99"], await Server.AskAsync("other.br.test"));
    }

    [Fact(Timeout = 60_000)]
    public async Task Apply_TwoServersAtOnce_TheNewerTokenStands()
    {
        for (var round = 0; round < 5; round++)
        {
            // Each wrote last in turn; then the old one goes on while the new one takes over.
            var (old, next) = (new Fence("server", (2 * round) + 1), new Fence("server", (2 * round) + 2));
            async Task<bool> WriteAsync(Fence fence, string value) => await Dns.ApplyAsync(DnsRecord.Of(Name, TimeSpan.FromSeconds(60), [value]), fence, Cancel) is DnsWrite.Done;
            Assert.True(await WriteAsync(old, "192.0.2.1"));
            async Task OldAsync()
            {
                for (var i = 0; i < 20; i++)
                    await WriteAsync(old, i % 2 == 0 ? "192.0.2.8" : "192.0.2.9");
            }

            var stale = OldAsync();
            for (var i = 0; !await WriteAsync(next, "192.0.2.2"); i++)
                Assert.True(i < 100); // a conflict: read and written again, as the loop does
            await stale;
            Assert.Equal(["192.0.2.2"], await Server.AskAsync(Name));
        }
    }
}

public sealed class DnsBindTests() : DnsUpdateContract("bind")
{
    private NameServer? _secondary;

    /// <summary>A primary and a secondary, so that "every authoritative server" is more than one.</summary>
    public override async ValueTask InitializeAsync()
    {
        (var primary, _secondary) = await NameServer.StartPairAsync();
        Use(primary, _secondary);
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        if (_secondary is { } secondary)
            await secondary.DisposeAsync();
    }

    [Fact(Timeout = 60_000)]
    public async Task Read_TwoServers_EachIsAskedByItself()
    {
        var readings = await Dns.ReadAsync(Name, Cancel);
        Assert.Equal([Server.EndPoint.ToString(), _secondary!.EndPoint.ToString()], readings.Select(r => r.Server));
    }
}

public sealed class DnsKnotTests() : DnsUpdateContract("knot")
{
    [Fact(Timeout = 60_000)]
    public async Task Read_NoServersInThePolicy_AreFoundByTheZonesNs() =>
        Assert.Equal([Server.EndPoint.ToString()], (await Dns.ReadAsync(Name, Cancel)).Select(r => r.Server));
}

public sealed class DnsCloudflareTests : DnsDriverContract
{
    private readonly TempFolder _folder = new();
    private CloudflareServer _server = null!;
    private HousePolicy _policy = null!;
    private CloudflareDns _dns = null!;

    internal override IDnsDriver Driver => _dns;

    public override async ValueTask InitializeAsync()
    {
        _server = await CloudflareServer.StartAsync();
        await File.WriteAllTextAsync(_folder.File("token"), CloudflareServer.Token + "\n", Cancel);
        (_policy, var servers) = House(new DnsRules { Driver = "cloudflare", Servers = [_server.Names.ToString()], CloudflareApi = new CloudflareRules { Api = _server.Api, Token = $"file:{_folder.File("token")}" } });
        _dns = new CloudflareDns(_policy, servers, TimeProvider.System);
    }

    public override async ValueTask DisposeAsync()
    {
        _dns.Dispose();
        await _server.DisposeAsync();
        _folder.Dispose();
    }

    protected override Task ChangeByHandAsync(string name, string address)
    {
        _server.Change(name, address);
        return Task.CompletedTask;
    }

    protected override Task StopAsync() => _server.DisposeAsync().AsTask();

    [Fact(Timeout = 30_000)]
    public async Task Apply_Change_IsOneBatchThatReusesRecords()
    {
        await ApplyAsync("192.0.2.1", "192.0.2.2");
        _server.Requests.Clear();
        await ApplyAsync("192.0.2.2", "192.0.2.3", "2001:db8::1");
        var batch = Assert.Single(_server.Requests, r => r.StartsWith("POST", StringComparison.Ordinal));
        Assert.Contains("\"patches\":[{\"id\":", batch, StringComparison.Ordinal); // .1 became .3 in place
        Assert.DoesNotContain("deletes", batch, StringComparison.Ordinal);
        Assert.Equal(["A 192.0.2.2 60 buildrunner token=3", "A 192.0.2.3 60 buildrunner token=3", "AAAA 2001:db8::1 60 buildrunner token=3"], _server.Held(Name));
        _server.Requests.Clear();
        await ApplyAsync("2001:db8::1");
        Assert.Equal(["AAAA 2001:db8::1 60 buildrunner token=3"], _server.Held(Name));
        Assert.All(_server.Requests, r => Assert.DoesNotContain(CloudflareServer.Token, r, StringComparison.Ordinal));
    }

    [Fact(Timeout = 30_000)]
    public async Task Apply_RecordsOfOthers_AreNeverTouchedAndAreTold()
    {
        _server.Add("A", Name, "192.0.2.50", "the old load balancer");
        _server.Add("A", "other.br.test", "192.0.2.51");
        _server.Add("TXT", Name, "v=spf1 -all");
        var fault = await FaultAsync(Name, 3, "192.0.2.1");
        Assert.Equal(DnsFaultKind.Foreign, fault.Kind);
        Assert.Contains("A 192.0.2.50", fault.Message, StringComparison.Ordinal);
        Assert.Equal(["A 192.0.2.1 60 buildrunner token=3", "A 192.0.2.50 60 the old load balancer", "TXT v=spf1 -all 60 "], _server.Held(Name));
        Assert.Equal(["A 192.0.2.51 60 "], _server.Held("other.br.test"));
        await ApplyAsync("192.0.2.50"); // what is wanted stands there already: nothing to add, and ours goes
        Assert.Equal(["A 192.0.2.50 60 the old load balancer", "TXT v=spf1 -all 60 "], _server.Held(Name));
    }

    [Theory(Timeout = 30_000)]
    [InlineData("token", DnsFaultKind.WrongKey, "Invalid access token (9109)")]
    [InlineData("rights", DnsFaultKind.Refused, "Authentication error (10000)")]
    [InlineData("zone", DnsFaultKind.NotAuthoritative, "no such zone")]
    [InlineData("other zone", DnsFaultKind.NotAuthoritative, "sees no zone that holds")]
    [InlineData("ttl", DnsFaultKind.Failed, "Invalid TTL")]
    [InlineData("away", DnsFaultKind.Unreachable, "could not be asked")]
    [InlineData("no token", DnsFaultKind.Misconfigured, "The environment variable BR_NO_SUCH_TOKEN")]
    public async Task Apply_Mistake_IsNamedWithWhatToDo(string mistake, DnsFaultKind kind, string says)
    {
        var dns = _policy.Current.Dns;
        if (mistake is "token" or "rights")
            await File.WriteAllTextAsync(_folder.File("token"), mistake == "token" ? "another-token" : CloudflareServer.ReadOnlyToken, Cancel);
        dns = mistake switch
        {
            "zone" => dns with { CloudflareApi = dns.CloudflareApi with { ZoneId = "0000" } },
            "other zone" => dns with { Name = "shop.example.org" },
            "no token" => dns with { CloudflareApi = dns.CloudflareApi with { Token = "env:BR_NO_SUCH_TOKEN" } },
            _ => dns,
        };
        _policy.Current = _policy.Current with { Dns = dns };
        if (mistake == "away")
            await _server.DisposeAsync();
        var fault = Assert.IsType<DnsWrite.Failed>(await _dns.ApplyAsync(DnsRecord.Of(dns.Name, TimeSpan.FromSeconds(mistake == "ttl" ? 5 : 60), ["192.0.2.1"]), new Fence("server", 3), Cancel)).Fault;
        Assert.Contains(says, fault.Message, StringComparison.Ordinal);
        Assert.Equal(kind, fault.Kind);
        Assert.True(fault.Fix.Length > 10);
        Assert.DoesNotContain("another-token", fault.Message + fault.Fix, StringComparison.Ordinal);
    }

    [Fact(Timeout = 30_000)]
    public async Task Apply_TooManyRequests_WaitsAsLongAsItIsTold()
    {
        var time = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        using var dns = new CloudflareDns(_policy, new AuthoritativeServers(_policy, time), time);
        Task<DnsWrite> WriteAsync() => dns.ApplyAsync(DnsRecord.Of(Name, TimeSpan.FromSeconds(60), ["192.0.2.1"]), new Fence("server", 3), Cancel);
        _server.RetryAfter = "7";
        Assert.Contains("for 7 s", Assert.IsType<DnsWrite.Failed>(await WriteAsync()).Fault.Message, StringComparison.Ordinal);
        var asked = _server.Requests.Count;
        _server.RetryAfter = null;
        time.Advance(TimeSpan.FromSeconds(6));
        Assert.Equal(DnsFaultKind.Limited, Assert.IsType<DnsWrite.Failed>(await WriteAsync()).Fault.Kind);
        Assert.Equal(asked, _server.Requests.Count); // nothing was asked meanwhile
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.IsType<DnsWrite.Done>(await WriteAsync());
    }

    private async Task ApplyAsync(params string[] values) =>
        Assert.IsType<DnsWrite.Done>(await _dns.ApplyAsync(DnsRecord.Of(Name, TimeSpan.FromSeconds(60), values), new Fence("server", 3), Cancel));
}

/// <summary>The command is a script that feeds nsupdate, and BIND takes it.</summary>
public sealed class DnsExecTests : DnsDriverContract
{
    private const string Script =
        """
        use strict; use JSON::PP;
        my ($port, $key) = @ARGV;
        my $ask = decode_json(do { local $/; <STDIN> });
        die "version" unless $ask->{schema_version} == 1 && $ask->{operation} eq "apply" && $ask->{token} > 0;
        my $seen = "$0.token";
        my $last = 0;
        if (open(my $from, "<", $seen)) { $last = <$from> }
        if ($last > $ask->{token}) { print encode_json({ok => JSON::PP::false, superseded => JSON::PP::true}); exit }
        { open(my $keep, ">", $seen) or die; print $keep $ask->{token}; }
        open(my $to, "|-", "nsupdate", "-y", $key) or die "nsupdate: $!";
        print $to "server 127.0.0.1 $port\nzone br.test\n";
        print $to "update delete $ask->{name}. $_\n" for qw(A AAAA CNAME);
        print $to "update add $ask->{name}. $ask->{ttl_seconds} $_->{type} $_->{value}", ($_->{type} eq "CNAME" ? "." : ""), "\n" for @{$ask->{records}};
        print $to "send\n";
        my $fine = close($to);
        print encode_json($fine ? {ok => JSON::PP::true} : {ok => JSON::PP::false, error => "nsupdate failed", fix => "Look at the key."});
        """;

    private readonly TempFolder _folder = new();
    private NameServer _server = null!;
    private HousePolicy _policy = null!;
    private ExecDns _dns = null!;

    internal override IDnsDriver Driver => _dns;

    protected override bool Compares => false; // the script does not look

    public override async ValueTask InitializeAsync()
    {
        _server = await NameServer.StartAsync("bind");
        await File.WriteAllTextAsync(_folder.File("write.pl"), Script, Cancel);
        (_policy, var servers) = House(new DnsRules { Driver = "exec", Servers = [_server.EndPoint.ToString()] });
        Command(TimeSpan.FromSeconds(20), "perl", _folder.File("write.pl"), _server.EndPoint.Port.ToString(CultureInfo.InvariantCulture), $"hmac-sha256:{NameServer.Key.Name}:{NameServer.Key.Secret}");
        _dns = new ExecDns(_policy, servers);
    }

    public override async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _folder.Dispose();
    }

    protected override Task ChangeByHandAsync(string name, string address) => _server.SetAsync(name, address);

    protected override Task StopAsync() => _server.StopAsync();

    [Fact(Timeout = 60_000)]
    public async Task Apply_CommandSaysWhatIsWrong_IsToldOn()
    {
        Command(TimeSpan.FromSeconds(20), "perl", _folder.File("write.pl"), _server.EndPoint.Port.ToString(CultureInfo.InvariantCulture), $"hmac-sha256:{NameServer.Nothing.Name}:{NameServer.Nothing.Secret}");
        var fault = await FaultAsync(Name, 1, "192.0.2.1");
        Assert.Equal(("perl could not write shop.br.test: nsupdate failed.", "Look at the key."), (fault.Message, fault.Fix));
    }

    [Theory(Timeout = 30_000)]
    [InlineData("exit 3", DnsFaultKind.Failed, "ended with 3")]
    [InlineData("echo broken >&2; exit 1", DnsFaultKind.Failed, "ended with 1: broken")]
    [InlineData("echo yes", DnsFaultKind.Misconfigured, "no answer that can be read")]
    [InlineData("exec sleep 30", DnsFaultKind.Unreachable, "did not end within")]
    [InlineData("sleep 30 & wait", DnsFaultKind.Unreachable, "did not end within")]
    [InlineData("while :; do echo 0123456789012345678901234567890123456789; done", DnsFaultKind.Misconfigured, "more than 64 KiB")]
    [InlineData("; not a shell", DnsFaultKind.Failed, "ended with")]
    public async Task Apply_CommandMisbehaves_IsBoundedAndSaid(string script, DnsFaultKind kind, string says)
    {
        Command(TimeSpan.FromSeconds(says.StartsWith("did", StringComparison.Ordinal) ? 0.5 : 20), "/bin/sh", "-c", script);
        var fault = await FaultAsync(Name, 1, "192.0.2.1");
        Assert.Contains(says, fault.Message, StringComparison.Ordinal);
        Assert.Equal(kind, fault.Kind);
    }

    [Fact(Timeout = 30_000)]
    public async Task Apply_CommandIsMissing_IsSaid()
    {
        Command(TimeSpan.FromSeconds(5), "/nowhere/dns");
        Assert.Contains("could not be started", (await FaultAsync(Name, 1, "192.0.2.1")).Message, StringComparison.Ordinal);
    }

    private void Command(TimeSpan timeout, params string[] command) =>
        _policy.Current = _policy.Current with { Dns = _policy.Current.Dns with { Command = new DnsExecRules { Command = command, Timeout = timeout } } };
}
