using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Alerting.Channels;
using BuildRunner.Server.Events;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Regions;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Alerting;

/// <summary>The room on a real store and real files, with a clock that the test moves and a store that can be cut off after any write.</summary>
internal sealed class AlertingHouse : IDisposable
{
    public const string Key = "region_failure/us-east-1";

    private readonly TempFolder _folder = new();
    private readonly SqliteStore _sqlite;

    public AlertingHouse(params ChannelDefinition[] more)
    {
        _sqlite = SqliteStore.Open(_folder.File("state.db"), Time, NullLogger.Instance);
        Store = new CutStore(_sqlite);
        Policy = new FixedPolicy(new PolicyDocument
        {
            Alerts = [new("region_failure", "region_health_check_failures > 3", "critical", ["file", "page", .. more.Select(c => c.Name)])],
            Channels = [new("file", "file", new Dictionary<string, string> { ["path"] = "alerts.log" }), new("page", "test", new Dictionary<string, string>()), .. more],
        });
        Boot();
    }

    public FakeTimeProvider Time { get; } = new(new DateTimeOffset(2026, 11, 27, 9, 0, 0, TimeSpan.Zero));
    public CutStore Store { get; }
    public FixedPolicy Policy { get; }
    public EventLog Events { get; private set; } = null!;
    public IncidentBook Book { get; private set; } = null!;
    public Outbox Outbox { get; private set; } = null!;
    public OutboxLoop Loop { get; private set; } = null!;
    public Alerts Alerts { get; private set; } = null!;
    public AlertLoop AlertLoop { get; private set; } = null!;
    public TimelineLoop Timeline { get; private set; } = null!;
    public RunRecords Runs { get; private set; } = null!;
    public ChannelSet Channels { get; private set; } = null!;
    public TestDriver Page { get; } = new();
    public bool Leads { get; set; } = true;
    public string File => _folder.File("alerts.log");

    public static Alert Trouble(AlertSeverity severity = AlertSeverity.Critical, string title = "us-east-1 is unhealthy") =>
        new(Key, severity, title, "gateway: refused.", "br dr failover --target us-west-1") { Regions = ["us-east-1"] };

    /// <summary>A server process starts: everything that it had in memory is new.</summary>
    public void Boot()
    {
        Dispose(all: false);
        Fence? lead() => Leads ? new Fence("server", 7) : null;
        Events = new EventLog(Store, Time, NullLogger<EventLog>.Instance);
        Book = new IncidentBook(Store, Events, Time);
        Outbox = new Outbox(Store, Time);
        Channels = new ChannelSet([new LogDriver(NullLoggerFactory.Instance), new FileDriver(_folder.Path), Page], Policy);
        Loop = new OutboxLoop(Store, Outbox, Channels, Book, Events, lead, Time, NullLogger<OutboxLoop>.Instance);
        Alerts = new Alerts(Book, Outbox, Policy, Events, lead, new AlertRules(), Time, NullLogger<Alerts>.Instance);
        AlertLoop = new AlertLoop(Alerts, Book, Outbox, lead, Time, NullLogger<AlertLoop>.Instance);
        Runs = new RunRecords(Store);
        Timeline = new TimelineLoop(Store, Events, Runs, Book, Alerts, lead, Time, NullLogger<TimelineLoop>.Instance);
    }

    public async Task<Incident> OnlyAsync(CancellationToken cancel) => Assert.Single(await Book.ListAsync(cancel));

    public async Task<IReadOnlyList<string>> LinesAsync(string incident, CancellationToken cancel) => [.. (await Book.TimelineAsync(incident, cancel)).Select(l => l.Text)];

    /// <summary>A line of a run's journal, with the record that its engine would write beside it.</summary>
    public async Task JournalAsync(RunEvent happened, CancellationToken cancel)
    {
        var run = happened is RunEvent.RunStarted started ? started.Run : "failover-1";
        await Store.AppendAsync(RunRecords.KeyOf(run), Journal.Write(happened), null, null, cancel);
        var state = RunState.Fold((await Store.ReadAsync(RunRecords.KeyOf(run), 0, 1000, cancel)).Select(r => Journal.Read(r.Value.Span)))!;
        await Runs.PutAsync(RunRecords.Of(state, 0, "database/main", null), null, cancel);
    }

    public void Dispose() => Dispose(all: true);

    private void Dispose(bool all)
    {
        Loop?.Dispose();
        AlertLoop?.Dispose();
        Timeline?.Dispose();
        Alerts?.Dispose();
        if (!all)
            return;
        _sqlite.Dispose();
        _folder.Dispose();
    }
}

/// <summary>A driver whose other end is the test.</summary>
internal sealed class TestDriver : INotificationDriver
{
    private readonly List<Notification> _told = [];

    public string Type => "test";

    /// <summary>What the other end makes of a notification; null: it takes it.</summary>
    public Func<Notification, CancellationToken, Task<ChannelOutcome>>? On { get; set; }

    public IReadOnlyList<Notification> Told => _told;

    public INotificationChannel Open(ChannelDefinition definition) => new Channel(this, definition.Name);

    private sealed class Channel(TestDriver driver, string name) : INotificationChannel
    {
        public string Name => name;

        public async Task<ChannelOutcome> SendAsync(Notification notification, CancellationToken cancel)
        {
            if (driver.On is { } on && await on(notification, cancel) is ChannelOutcome.Failed failed)
                return failed;
            driver._told.Add(notification);
            return new ChannelOutcome.Sent();
        }
    }
}

/// <summary>A store that fails for good after so many writes, as a crash would look to whoever writes: what was written stays.</summary>
internal sealed class CutStore(IStore inner) : IStore
{
    private int? _left;

    public string Name => inner.Name;

    /// <summary>Null: never.</summary>
    public void CutAfter(int? writes) => _left = writes;

    public Task<StoreEntry?> GetAsync(string key, CancellationToken cancel) => inner.GetAsync(key, cancel);

    public Task<IReadOnlyList<StoreEntry>> ListAsync(string prefix, CancellationToken cancel) => inner.ListAsync(prefix, cancel);

    public Task<StoreWrite> PutAsync(string key, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel) => Count(() => inner.PutAsync(key, value, expected, fence, cancel));

    public Task<StoreWrite> DeleteAsync(string key, long? expected, Fence? fence, CancellationToken cancel) => Count(() => inner.DeleteAsync(key, expected, fence, cancel));

    public Task<StoreWrite> AppendAsync(string log, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel) => Count(() => inner.AppendAsync(log, value, expected, fence, cancel));

    public Task<StoreWrite> AppendAsync(string log, IReadOnlyList<ReadOnlyMemory<byte>> values, KeyWrite also, long? expected, Fence? fence, CancellationToken cancel) => Count(() => inner.AppendAsync(log, values, also, expected, fence, cancel));

    public Task<IReadOnlyList<LogRecord>> ReadAsync(string log, long after, int limit, CancellationToken cancel) => inner.ReadAsync(log, after, limit, cancel);

    public Task<IReadOnlyList<LogRecord>> ReadLastAsync(string log, int limit, CancellationToken cancel) => inner.ReadLastAsync(log, limit, cancel);

    public IDisposable Watch(string prefix, Action<string> changed) => inner.Watch(prefix, changed);

    public Task<LeaseGrant?> AcquireAsync(string lease, string holder, TimeSpan ttl, CancellationToken cancel, long above = 0) => inner.AcquireAsync(lease, holder, ttl, cancel, above);

    public Task<bool> RenewAsync(LeaseGrant grant, TimeSpan ttl, CancellationToken cancel) => inner.RenewAsync(grant, ttl, cancel);

    public Task ReleaseAsync(LeaseGrant grant, CancellationToken cancel) => inner.ReleaseAsync(grant, cancel);

    private Task<StoreWrite> Count(Func<Task<StoreWrite>> write)
    {
        if (_left is <= 0)
            throw new StoreException("cut off by the test");
        _left--;
        return write();
    }
}
