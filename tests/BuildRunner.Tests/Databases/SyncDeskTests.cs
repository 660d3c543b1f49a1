using BuildRunner.Client.Databases;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Databases;

/// <summary>Record and setting of synchronous replication over the real store, with reports as agents make them.</summary>
public sealed class SyncDeskTests : IAsyncLifetime
{
    private const string East = "us-east-1";
    private const string West = "us-west-1";
    private static readonly Fence Fence = new("server", 1);
    private readonly string _folder = Directory.CreateTempSubdirectory("br-sync-").FullName;
    private readonly FakeTimeProvider _time = new();
    private readonly NodeReports _reports;
    private readonly Told _alerts = new();
    private readonly PolicyDocument _policy = new()
    {
        Recovery = new RecoveryRules { Replication = ReplicationMode.Synchronous },
        Regions = [Region(East, RegionRole.Primary), Region(West, RegionRole.Standby)],
        Databases = [new DatabaseDefinition { Name = "main" }],
    };
    private SqliteStore _store = null!;
    private AwayStore _away = null!;
    private Epochs _epochs = null!;
    private SyncDesk _desk = null!;
    private long _version;

    public SyncDeskTests() => _reports = new NodeReports(_time, NullLogger<NodeReports>.Instance);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _store = SqliteStore.Open(Path.Combine(_folder, "state.db"), _time, NullLogger.Instance);
        _away = new AwayStore(_store);
        _epochs = new Epochs(_away, new EventLog(_store, _time, NullLogger<EventLog>.Instance));
        _desk = new SyncDesk(_epochs, _reports, _alerts, _time, NullLogger<SyncDesk>.Instance);
        await _epochs.CreateAsync(EpochTransitions.First("main", East, [East, West], _time.GetUtcNow()), null, Cancel);
    }

    public ValueTask DisposeAsync()
    {
        _store.Dispose();
        Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task MemberStopsStreaming_RecordThenSetting_AndAnAlertAfterAWhile()
    {
        await SynchronousAsync();
        Report(streams: false);
        await PassAsync();
        Assert.True((await RecordAsync()).Sync!.Claims, "a receiver that is started again is waited for");
        await AwayAsync();
        await PassAsync();
        Assert.Equal((0, SyncState.Changing, SyncSetting.First(West).Names), ((await RecordAsync()).Sync!.Required, (await RecordAsync()).Sync!.State, _desk.NamesFor(await RecordAsync())));
        await PassAsync();
        Assert.Equal("", _desk.NamesFor(await RecordAsync()));
        Report(streams: false, inForce: "");
        await PassAsync();
        Assert.Equal(SyncState.Degraded, (await RecordAsync()).Sync!.State);
        Assert.Empty(_alerts.Raised);
        _time.Advance(TimeSpan.FromSeconds(16));
        Report(streams: false, inForce: "");
        await PassAsync();
        Assert.Contains("degraded", Assert.Single(_alerts.Raised).Title, StringComparison.Ordinal);

        await SynchronousAsync();
        Assert.Single(_alerts.Cleared);
    }

    /// <summary>No store, no degrading: what the record claims stays true, and writes wait.</summary>
    [Fact]
    public async Task StoreIsAway_TheSettingStays()
    {
        await SynchronousAsync();
        Report(streams: false);
        await PassAsync();
        await AwayAsync();
        _away.IsAway = true;
        for (var pass = 0; pass < 5; pass++)
            await Assert.ThrowsAsync<StoreException>(() => PassAsync());
        _away.IsAway = false;
        Assert.Equal(SyncSetting.First(West).Names, _desk.NamesFor(await RecordAsync()));
        Assert.True((await RecordAsync()).Sync!.Claims);
    }

    /// <summary>The agent's word about what was told before a change counts for nothing after it.</summary>
    [Fact]
    public async Task OldReport_ClaimsNothing()
    {
        await SynchronousAsync();
        Report(streams: false);
        await PassAsync();
        await AwayAsync();
        await PassAsync();
        await PassAsync(); // nobody is waited for from now on
        Report(streams: true, inForce: SyncSetting.First(West).Names, version: 1);
        for (var pass = 0; pass < 5; pass++)
            await PassAsync();
        Assert.Equal(SyncSetting.First(West).Names, _desk.NamesFor(await RecordAsync()));
        Assert.False((await RecordAsync()).Sync!.Claims);
    }

    [Fact]
    public async Task AnotherLeader_ClaimsNothingBeforeItsOwnWordIsQuoted_AndLosesNothing()
    {
        await SynchronousAsync();
        _desk.Begin();
        Report(streams: true, inForce: SyncSetting.First(West).Names, version: _version);
        await PassAsync();
        Assert.True((await RecordAsync()).Sync!.Claims);
        Assert.Equal(SyncSetting.First(West).Names, _desk.NamesFor(await RecordAsync()));
    }

    [Theory]
    [InlineData(EpochState.Closing)]
    public async Task ARunMovesTheEpoch_NothingChanges(EpochState state)
    {
        await SynchronousAsync();
        await _epochs.MoveAsync("main", r => EpochTransitions.Close(r, "run-1", _time.GetUtcNow()), null, Cancel);
        Report(streams: false);
        await AwayAsync();
        for (var pass = 0; pass < 3; pass++)
            await PassAsync();
        var record = await RecordAsync();
        Assert.Equal((state, true, SyncSetting.First(West).Names), (record.State, record.Sync!.Claims, _desk.NamesFor(record)));
    }

    private async Task SynchronousAsync()
    {
        for (var pass = 0; pass < 6; pass++)
        {
            Report(streams: true, inForce: _desk.NamesFor(await RecordAsync()), version: _version);
            await PassAsync();
        }
        var sync = (await RecordAsync()).Sync;
        Assert.True(sync is { State: SyncState.Sync, Required: 1, Members: [West] }, $"{sync}");
    }

    private async Task AwayAsync()
    {
        _time.Advance(TimeSpan.FromSeconds(2.1));
        Report(streams: false);
        await Task.CompletedTask;
    }

    private async Task PassAsync()
    {
        var record = await RecordAsync();
        var before = _desk.NamesFor(record);
        record = await _desk.PassAsync(_policy, record, Fence, Cancel);
        if (_desk.NamesFor(record) != before)
            _desk.Published(East, ++_version);
    }

    private async Task<EpochRecord> RecordAsync()
    {
        var entry = await _store.GetAsync(Epochs.KeyOf("main"), Cancel);
        return System.Text.Json.JsonSerializer.Deserialize(entry!.Value.Span, BuildRunner.Client.WireJson.Default.EpochRecord)!;
    }

    private void Report(bool streams, string? inForce = null, long? version = null)
    {
        var names = inForce ?? _desk.NamesFor(EpochTransitions.First("main", East, [East, West], default)) ?? "";
        _reports.Take(East, Agent(new DatabaseReading
        {
            Database = "main", State = DatabaseState.Primary, MarkerEpoch = 1, Flushed = new Lsn(500), SyncNames = names,
            Sync = new SyncReading(names, version ?? _version, new Lsn(400)),
            Replicas = streams ? [new ReplicaReading(West, "streaming", new Lsn(500), new Lsn(500), 0, new Lsn(500))] : [],
        }));
        _reports.Take(West, Agent(new DatabaseReading { Database = "main", State = DatabaseState.Standby, MarkerEpoch = 1, Streaming = streams }));
    }

    private AgentReport Agent(DatabaseReading reading) => new() { Incarnation = "a", At = _time.GetUtcNow(), Host = "h", Database = reading };

    private static RegionDefinition Region(string code, RegionRole role) => new() { Code = code, Name = code, Role = role, Endpoint = "http://h:1", Location = new GeoPoint(0, 0), DatabaseHost = "h" };

    private sealed class Told : IAlerts
    {
        public List<Alert> Raised { get; } = [];
        public List<string> Cleared { get; } = [];

        public Task RaiseAsync(Alert alert, CancellationToken cancel)
        {
            Raised.Add(alert);
            return Task.CompletedTask;
        }

        public Task ClearAsync(string key, string? reason, CancellationToken cancel)
        {
            Cleared.Add(key);
            return Task.CompletedTask;
        }
    }
}

/// <summary>A store that can be away: nothing is written then.</summary>
internal sealed class AwayStore(IStore inner) : IStore
{
    public bool IsAway { get; set; }

    public string Name => inner.Name;

    public Task<StoreEntry?> GetAsync(string key, CancellationToken cancel) => inner.GetAsync(key, cancel);

    public Task<IReadOnlyList<StoreEntry>> ListAsync(string prefix, CancellationToken cancel) => inner.ListAsync(prefix, cancel);

    public Task<StoreWrite> PutAsync(string key, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel) =>
        IsAway ? throw new StoreException("The store is away.") : inner.PutAsync(key, value, expected, fence, cancel);

    public Task<StoreWrite> DeleteAsync(string key, long? expected, Fence? fence, CancellationToken cancel) => inner.DeleteAsync(key, expected, fence, cancel);

    public Task<StoreWrite> AppendAsync(string log, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel) => inner.AppendAsync(log, value, expected, fence, cancel);

    public Task<StoreWrite> AppendAsync(string log, IReadOnlyList<ReadOnlyMemory<byte>> values, KeyWrite also, long? expected, Fence? fence, CancellationToken cancel) => inner.AppendAsync(log, values, also, expected, fence, cancel);

    public Task<IReadOnlyList<LogRecord>> ReadAsync(string log, long after, int limit, CancellationToken cancel) => inner.ReadAsync(log, after, limit, cancel);

    public Task<IReadOnlyList<LogRecord>> ReadLastAsync(string log, int limit, CancellationToken cancel) => inner.ReadLastAsync(log, limit, cancel);

    public IDisposable Watch(string prefix, Action<string> changed) => inner.Watch(prefix, changed);

    public Task<LeaseGrant?> AcquireAsync(string lease, string holder, TimeSpan ttl, CancellationToken cancel, long above = 0) => inner.AcquireAsync(lease, holder, ttl, cancel, above);

    public Task<bool> RenewAsync(LeaseGrant grant, TimeSpan ttl, CancellationToken cancel) => inner.RenewAsync(grant, ttl, cancel);

    public Task ReleaseAsync(LeaseGrant grant, CancellationToken cancel) => inner.ReleaseAsync(grant, cancel);
}
