using BuildRunner.Client.Routing;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Recovery.Dns;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Recovery;

/// <summary>The names kept as they should be: with a real store, and a real file or name server.</summary>
public sealed class DnsLoopTests : IDisposable
{
    private const string Name = "shop.br.test";
    private readonly TempFolder _folder = new();
    private readonly SkippingTime _time = new();
    private readonly SqliteStore _store;
    private readonly EventLog _events;
    private readonly Epochs _epochs;
    private readonly NodeReports _reports;
    private readonly HousePolicy _policy;
    private readonly Told _told = new();
    private Fence? _fence = new("server", 7);

    public DnsLoopTests()
    {
        _store = SqliteStore.Open(_folder.File("state.db"), _time, NullLogger.Instance);
        _events = new EventLog(_store, _time, NullLogger<EventLog>.Instance);
        _epochs = new Epochs(_store, _events);
        _reports = new NodeReports(_time, NullLogger<NodeReports>.Instance);
        _fence = null;
        _policy = new HousePolicy(new PolicyDocument
        {
            Dns = new DnsRules { Driver = "file", Name = Name, File = _folder.File("names") },
            Regions = [Region("a", 1), Region("b", 2)],
        });
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _store.Dispose();
        _folder.Dispose();
    }

    [Fact(Timeout = 30_000)]
    public async Task Pass_RegionDies_ItsAddressGoesAndComesBack()
    {
        using var loop = await StartAsync("a", "b");
        Assert.Equal(["192.0.2.1", "192.0.2.2"], Of(loop, Name).Wanted.Values);
        Assert.True(Of(loop, Name).Settled);
        Assert.Equal(["192.0.2.1"], Of(loop, "primary." + Name).Wanted.Values);
        _time.Skip(NodeReports.AgeMax + TimeSpan.FromSeconds(5));
        Report("b");
        await loop.RunOnceAsync(Cancel);
        Assert.Equal("shop.br.test. 5 IN A 192.0.2.2", Assert.Single(Lines(), l => l.StartsWith(Name, StringComparison.Ordinal)));
        Assert.Contains("primary.shop.br.test. 5 IN A 192.0.2.1", Lines()); // until the epoch names another
        await _epochs.MoveAsync("main", before => new EpochMove.Allowed(before with { Epoch = before.Epoch + 1, Primary = "b" }), _fence, Cancel);
        await loop.RunOnceAsync(Cancel);
        Assert.Contains("primary.shop.br.test. 5 IN A 192.0.2.2", Lines());
        _time.Skip(NodeReports.AgeMax * 2); // nobody lives: what is there stands
        await loop.RunOnceAsync(Cancel);
        Assert.Contains("shop.br.test. 5 IN A 192.0.2.2", Lines());
        Report("a", "b");
        await loop.RunOnceAsync(Cancel);
        Assert.Equal(2, Lines().Count(l => l.StartsWith(Name, StringComparison.Ordinal)));
        Assert.Equal(["192.0.2.1", "192.0.2.2"], Of(loop, Name).Written!.Values);
    }

    [Fact(Timeout = 30_000)]
    public async Task Pass_ServerHasJustStarted_WithdrawsNothing()
    {
        using (await StartAsync("a", "b")) { }
        _time.Skip(NodeReports.AgeMax + TimeSpan.FromSeconds(1));
        Report("b");
        using var next = Loop();
        await next.RunOnceAsync(Cancel);
        Assert.Equal(["192.0.2.1", "192.0.2.2"], Of(next, Name).Wanted.Values);
        _time.Skip(TimeSpan.FromSeconds(6));
        Report("b");
        await next.RunOnceAsync(Cancel);
        Assert.Equal(["192.0.2.2"], Of(next, Name).Wanted.Values);
    }

    [Fact(Timeout = 30_000)]
    public async Task Pass_SomebodyChangesARecord_IsPutBackAndSaid()
    {
        using var loop = await StartAsync("a", "b");
        await File.WriteAllTextAsync(_folder.File("names"), "shop.br.test. 60 IN A 192.0.2.66\nprimary.shop.br.test. 5 IN A 192.0.2.1\n", Cancel);
        await loop.RunOnceAsync(Cancel);
        Assert.Contains("shop.br.test. 60 IN A 192.0.2.66", Lines()); // what is well is looked at now and then
        _time.Skip(_policy.Current.Dns.CheckInterval);
        Report("a", "b");
        await loop.RunOnceAsync(Cancel);
        Assert.DoesNotContain("192.0.2.66", string.Concat(Lines()), StringComparison.Ordinal);
        var said = Assert.Single(await _events.ListAsync(100, Cancel), e => e.Kind == "dns.repaired");
        Assert.Contains("somebody changed shop.br.test", said.Summary, StringComparison.Ordinal);
        Assert.Contains("192.0.2.66", said.Summary, StringComparison.Ordinal);
    }

    [Fact(Timeout = 30_000)]
    public async Task Pass_WriteFails_IsToldAndClearedWhenWell()
    {
        using var loop = await StartAsync("a", "b");
        Assert.All(_told.Cleared, key => Assert.StartsWith("dns_record/", key, StringComparison.Ordinal));
        _policy.Current = _policy.Current with { Dns = _policy.Current.Dns with { File = _folder.File("no/names"), Ttl = TimeSpan.FromSeconds(9) } };
        await loop.RunOnceAsync(Cancel);
        await loop.RunOnceAsync(Cancel);
        var alert = _told.Raised.Last(a => a.Key == "dns_record/shop.br.test");
        Assert.Contains("could not be written", alert.Details, StringComparison.Ordinal);
        Assert.Contains("dns.file", alert.Details, StringComparison.Ordinal);
        Assert.Contains("could not be written", DnsStatus.Sentence(loop), StringComparison.Ordinal);
        var status = Assert.Single(DnsStatus.Of(loop, Watch(loop)), r => r.Name == Name);
        Assert.False(status.Settled);
        Assert.NotNull(status.TroubledSince);
        Assert.NotNull(status.Fix);
        _told.Cleared.Clear();
        Directory.CreateDirectory(_folder.File("no"));
        _time.Skip(TimeSpan.FromSeconds(31));
        Report("a", "b");
        await loop.RunOnceAsync(Cancel);
        Assert.Contains("dns_record/shop.br.test", _told.Cleared);
        Assert.True(Of(loop, Name).Settled);
        Assert.Null(DnsStatus.Of(loop, Watch(loop))[0].Problem);
    }

    [Fact(Timeout = 30_000)]
    public async Task Pass_NotLeadingOrObserving_WritesNothing()
    {
        using var follower = await StartAsync(lead: false, "a", "b");
        Assert.False(File.Exists(_folder.File("names")));
        Assert.False(Of(follower, Name).Settled);
        _fence = await LeadAsync();
        _policy.Current = _policy.Current with { Mode = PolicyMode.Observe };
        await follower.RunOnceAsync(Cancel);
        Assert.False(File.Exists(_folder.File("names")));
        Assert.Empty(_told.Raised);
    }

    [Fact(Timeout = 60_000)]
    public async Task Update_AgainstBind_EndsWhenItAnswersAndNeverWaitsForResolvers()
    {
        await using var server = await NameServer.StartAsync("bind");
        await File.WriteAllTextAsync(_folder.File("key"), NameServer.Key.Secret, Cancel);
        _policy.Current = _policy.Current with
        {
            Dns = new DnsRules
            {
                Driver = "rfc2136", Name = Name, Ttl = TimeSpan.FromSeconds(1), Resolvers = [server.EndPoint.ToString(), "127.0.0.1:1"],
                Update = new Rfc2136Rules { Server = server.EndPoint.ToString(), KeyName = NameServer.Key.Name, Key = $"file:{_folder.File("key")}" },
            },
        };
        using var loop = await StartAsync("a", "b");
        using var watch = Watch(loop);
        var action = new UpdateDnsAction(loop, watch, _policy, TimeProvider.System);
        Assert.Equal("rfc2136", Assert.IsType<ActionOutcome.Done>(await action.ActAsync(Context(), Cancel)).Outputs["sent"]);
        var done = Assert.IsType<ActionOutcome.Done>(await action.ActAsync(Context("true"), Cancel));
        Assert.Contains($"{server.EndPoint} answers 192.0.2.1, 192.0.2.2", done.Outputs["dns"], StringComparison.Ordinal);
        Assert.Contains("not all yet", done.Outputs["resolvers"], StringComparison.Ordinal);
        Assert.Contains("127.0.0.1:1", done.Outputs["resolvers"], StringComparison.Ordinal);
        await watch.RunOnceAsync(Cancel);
        var users = Assert.Single(DnsStatus.Of(loop, watch), r => r.Name == Name);
        Assert.Equal([true, false], users.Resolvers.Select(r => r.Right));
        Assert.All(users.Servers, s => Assert.True(s.Right));
        Assert.NotNull(users.SettledAt);

        await server.SetAsync(Name, "192.0.2.66");
        _time.Skip(_policy.Current.Dns.CheckInterval);
        Report("a", "b");
        await loop.RunOnceAsync(Cancel);
        Assert.Equal(["192.0.2.1", "192.0.2.2"], await server.AskAsync(Name));
    }

    [Fact(Timeout = 60_000)]
    public async Task Update_KeyIsWrong_FailsWithWhatToDo()
    {
        await using var server = await NameServer.StartAsync("knot");
        await File.WriteAllTextAsync(_folder.File("key"), NameServer.Root.Secret, Cancel);
        _policy.Current = _policy.Current with { Dns = new DnsRules { Driver = "rfc2136", Name = Name, Update = new Rfc2136Rules { Server = server.EndPoint.ToString(), KeyName = NameServer.Key.Name, Key = $"file:{_folder.File("key")}" } } };
        using var loop = await StartAsync("a", "b");
        var failed = Assert.IsType<ActionOutcome.Failed>(await new UpdateDnsAction(loop, Watch(loop), _policy, TimeProvider.System).ActAsync(Context("true"), Cancel));
        Assert.Contains("answers nothing", failed.Error, StringComparison.Ordinal);
        Assert.Contains("its secret is not the one", failed.Error, StringComparison.Ordinal);
        Assert.Contains(_told.Raised, a => a.Key == "dns_record/shop.br.test" && a.Details.Contains("Put the server's secret", StringComparison.Ordinal));
    }

    private static DnsNameView Of(DnsLoop loop, string name) => loop.Current.Single(v => v.Wanted.Name == name);

    private Task<DnsLoop> StartAsync(params string[] live) => StartAsync(lead: true, live);

    /// <summary>A server that has heard of everyone.</summary>
    private async Task<DnsLoop> StartAsync(bool lead, params string[] live)
    {
        await _epochs.CreateAsync(EpochTransitions.First("main", "a", ["a", "b"], _time.GetUtcNow()), null, Cancel);
        _fence = lead ? await LeadAsync() : null;
        var loop = Loop();
        _time.Skip(TimeSpan.FromSeconds(6));
        Report(live);
        await loop.RunOnceAsync(Cancel);
        await loop.RunOnceAsync(Cancel);
        return loop;
    }

    private async Task<Fence> LeadAsync() => (await _store.AcquireAsync("server", "me", TimeSpan.FromHours(1), Cancel))!.Fence;

    private DnsLoop Loop()
    {
        var servers = new AuthoritativeServers(_policy, _time);
        return new DnsLoop([new FileDns(_policy, servers), new Rfc2136Dns(_policy, servers, TimeProvider.System)], _policy, _reports, new HouseHealth(), _epochs, new DnsBook(_store), _told, _events, () => _fence, _time, NullLogger<DnsLoop>.Instance);
    }

    private DnsWatchLoop Watch(DnsLoop loop) => new(loop, _policy, _time, NullLogger<DnsWatchLoop>.Instance);

    private void Report(params string[] live)
    {
        foreach (var code in live)
            _reports.Take(code, new GatewayReport { Incarnation = "g", At = _time.GetUtcNow(), TableVersion = 1, Endpoint = $"http://{code}" });
    }

    private string[] Lines() => File.ReadAllLines(_folder.File("names"));

    private static RegionDefinition Region(string code, int number) => new() { Code = code, Name = code, Role = RegionRole.Replica, Endpoint = $"http://192.0.2.{number}:8080", Location = default };

    private static ActionContext Context(string? wait = null) => new()
    {
        Run = "r", Step = new RunbookStep { Id = "dns", Title = "t", Action = "dns.update" }, Arguments = wait is null ? new Dictionary<string, string>() : new Dictionary<string, string> { ["wait"] = wait },
        Inputs = new Dictionary<string, string>(), Outputs = new Dictionary<string, string>(), Key = "k", Attempt = 1, Fence = new Fence("server", 7), Actor = "a", Reason = "r", RunStartedAt = default,
    };

    private sealed class Told : IAlerts
    {
        public List<Alert> Raised { get; } = [];
        public List<string> Cleared { get; } = [];

        public Task RaiseAsync(Alert alert, CancellationToken cancel)
        {
            lock (Raised)
                Raised.Add(alert);
            return Task.CompletedTask;
        }

        public Task ClearAsync(string key, string? reason, CancellationToken cancel)
        {
            lock (Cleared)
                Cleared.Add(key);
            return Task.CompletedTask;
        }
    }
}
