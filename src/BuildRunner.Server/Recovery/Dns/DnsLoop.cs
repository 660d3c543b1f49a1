using System.Collections.Concurrent;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// Keeps the users' name on the live gateways, and `primary.NAME` on the primary's region: writes what changes, reads it back from every authoritative
/// server, puts back what somebody changed by hand, and says so. Only the server that leads writes.
/// </summary>
internal sealed partial class DnsLoop : ReconcileLoop
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <summary>A server that has just started has not heard of everyone yet: nothing is withdrawn for so long.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan PauseMax = TimeSpan.FromSeconds(30);

    private readonly IReadOnlyList<IDnsDriver> _drivers;
    private readonly IPolicySource _policy;
    private readonly INodeReports _reports;
    private readonly IRegionHealth _health;
    private readonly Epochs _epochs;
    private readonly DnsBook _book;
    private readonly IAlerts _alerts;
    private readonly IEventLog _events;
    private readonly Lead _lead;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly long _started;
    private readonly IDisposable _hint;
    private readonly ConcurrentDictionary<string, Memory> _memory = new(StringComparer.Ordinal);
    private volatile IReadOnlyList<DnsNameView> _current = [];

    public DnsLoop(IEnumerable<IDnsDriver> drivers, IPolicySource policy, INodeReports reports, IRegionHealth health, Epochs epochs, DnsBook book, IAlerts alerts, IEventLog events, [FromKeyedServices(Leads.Acting)] Lead lead, TimeProvider time, ILogger<DnsLoop> logger)
        : base(Interval, time, logger)
    {
        _drivers = [.. drivers];
        (_policy, _reports, _health, _epochs, _book, _alerts, _events, _lead, _time, _logger) = (policy, reports, health, epochs, book, alerts, events, lead, time, logger);
        _started = time.GetTimestamp();
        _hint = health.OnChange(Wake);
    }

    public string DriverName => Driver?.Name ?? DnsRules.None;

    /// <summary>Each name as the last pass saw it.</summary>
    public IReadOnlyList<DnsNameView> Current => _current;

    private IDnsDriver? Driver => _policy.Current.Dns is { Name.Length: > 0 } rules ? _drivers.FirstOrDefault(d => d.Name == rules.Driver) : null;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        foreach (var one in _drivers)
            await one.RefreshAsync(cancel);
        IReadOnlyList<DnsRecord> wanted = [];
        IReadOnlySet<string> dead = new HashSet<string>();
        if (Driver is not null)
            (wanted, dead) = await WantedAsync(cancel);
        foreach (var name in _memory.Keys.Except(wanted.Select(w => w.Name)).ToList())
        {
            if (_memory.TryRemove(name, out var memory) && memory.Told is not null && _lead() is not null)
                await _alerts.ClearAsync(DnsAlerts.KeyOf(name), "The policy does not keep this name any more.", cancel);
        }
        if (Driver is { } driver)
            _current = await Task.WhenAll(wanted.Select(record => KeepAsync(driver, record, dead, cancel)));
        else
            _current = [];
    }

    /// <summary>Whether every authoritative server answers what it should, asked now.</summary>
    public async Task<(bool Settled, string Sentence)> CheckAsync(CancellationToken cancel)
    {
        if (Driver is not { } driver)
            return (true, "no DNS driver is set up");
        var (wanted, _) = await WantedAsync(cancel);
        var (wrong, right) = (new List<string>(), new List<string>());
        foreach (var (record, readings) in await Task.WhenAll(wanted.Select(async record => (record, await driver.ReadAsync(record.Name, cancel)))))
        {
            if (readings.Count == 0)
                wrong.Add($"no server of {record.Name} is known");
            foreach (var reading in readings)
                (reading.Is(record) ? right : wrong).Add($"{record.Name}: {reading.Said}");
        }
        return wrong.Count > 0 ? (false, string.Join("; ", wrong)) : (true, string.Join("; ", right));
    }

    /// <summary>What the names should answer now.</summary>
    public async Task<IReadOnlyList<DnsRecord>> DesiredAsync(CancellationToken cancel) => Driver is null ? [] : (await WantedAsync(cancel)).Wanted;

    public override void Dispose()
    {
        _hint.Dispose();
        base.Dispose();
    }

    private async Task<(IReadOnlyList<DnsRecord> Wanted, IReadOnlySet<string> Dead)> WantedAsync(CancellationToken cancel)
    {
        var policy = _policy.Current;
        var database = policy.Databases.Count > 0 ? policy.Databases[0].Name : "main";
        var record = await _epochs.GetAsync(database, cancel);
        var gateways = policy.Regions.Select(region =>
            DnsGateway.Of(region, policy.Dns, _reports.Gateway(region.Code) is not null, _health.Current.FirstOrDefault(v => v.Code == region.Code)?.Health)).ToList();
        var kept = _time.GetElapsedTime(_started) < Grace ? (await _book.WrittenAsync(DnsRecord.Canonical(policy.Dns.Name), cancel))?.Values : null;
        var dead = gateways.Where(g => !g.Live).SelectMany(g => g.Hosts).Select(DnsRecord.Canonical).ToHashSet(StringComparer.Ordinal);
        return (DnsAnswers.Decide(policy.Dns.Name, policy.Dns.Ttl, gateways, record?.Primary, kept), dead);
    }

    private async Task<DnsNameView> KeepAsync(IDnsDriver driver, DnsRecord wanted, IReadOnlySet<string> dead, CancellationToken cancel)
    {
        var memory = _memory.GetOrAdd(wanted.Name, _ => new Memory());
        if (!(memory.Wanted is { } before && before.Is(wanted.Values)))
            (memory.Wanted, memory.Failures, memory.ReadAt) = (wanted, 0, null);
        var written = await _book.WrittenAsync(wanted.Name, cancel);
        if (memory.ReadAt is not { } read || memory.TroubledFrom is not null || _time.GetElapsedTime(read) >= _policy.Current.Dns.CheckInterval)
            await ReadAsync(driver, wanted, memory, cancel);

        var decision = DnsDecision.Decide(wanted, driver.Name, written, memory.Readings, _time.GetUtcNow());
        if (decision is DnsDecision.Write write && _lead() is { } fence)
        {
            if (_policy.Current.Mode == PolicyMode.Observe)
            {
                var would = DnsRecord.Said(wanted.Values);
                if (memory.Would != decision.Reason)
                    LogWould(_logger, wanted.Name, would, decision.Reason);
                memory.Would = decision.Reason;
            }
            else if (await WriteAsync(driver, wanted, written, write, memory, fence, cancel) is { } now)
            {
                written = now;
                decision = DnsDecision.Decide(wanted, driver.Name, written, memory.Readings, _time.GetUtcNow());
            }
        }
        if (decision is DnsDecision.Settled)
        {
            memory.Fault = null;
            if (written is { SettledAt: null } && _lead() is { } by)
                await _book.PutAsync(written with { SettledAt = _time.GetUtcNow() }, by, cancel);
            (memory.TroubledFrom, memory.TroubledSince) = (null, null);
        }
        else if (memory.TroubledFrom is null)
        {
            (memory.TroubledFrom, memory.TroubledSince) = (_time.GetTimestamp(), _time.GetUtcNow());
        }
        if (_lead() is not null && _policy.Current.Mode != PolicyMode.Observe)
            await TellAsync(wanted, memory, dead, cancel);
        return new(wanted, written, decision is DnsDecision.Settled, decision.Reason, memory.TroubledSince, memory.Fault,
            [.. memory.Readings.Select(r => new DnsServerView(r, r.Is(wanted), memory.Since.GetValueOrDefault(r.Server)))], memory.ReadClock);
    }

    private async Task ReadAsync(IDnsDriver driver, DnsRecord wanted, Memory memory, CancellationToken cancel)
    {
        var readings = await driver.ReadAsync(wanted.Name, cancel);
        var now = _time.GetUtcNow();
        // Since when each server answers what it answers now.
        var before = memory.Readings.ToDictionary(r => r.Server, r => r.Said, StringComparer.Ordinal);
        memory.Since = readings.DistinctBy(r => r.Server).ToDictionary(r => r.Server, r => before.GetValueOrDefault(r.Server) == r.Said && memory.Since.TryGetValue(r.Server, out var since) ? since : now, StringComparer.Ordinal);
        (memory.Readings, memory.ReadAt, memory.ReadClock) = ([.. readings.DistinctBy(r => r.Server)], _time.GetTimestamp(), now);
    }

    /// <summary>Null: nothing was written.</summary>
    private async Task<DnsWritten?> WriteAsync(IDnsDriver driver, DnsRecord wanted, DnsWritten? written, DnsDecision.Write why, Memory memory, Storage.Fence fence, CancellationToken cancel)
    {
        // What fails is tried again after 1, 2, 4 … s, at most half a minute; a new value at once.
        if (memory.Failures > 0 && _time.GetElapsedTime(memory.TriedAt) < TimeSpan.FromSeconds(Math.Min(PauseMax.TotalSeconds, Math.Pow(2, Math.Min(memory.Failures - 1, 10)))))
            return null;
        memory.TriedAt = _time.GetTimestamp();
        if (await driver.ApplyAsync(wanted, fence, cancel) is DnsWrite.Failed { Fault: var fault })
        {
            if (memory.Fault != fault)
                LogFailed(_logger, wanted.Name, fault.Message, fault.Fix);
            memory.Fault = fault;
            memory.Failures++;
            return null;
        }
        (memory.Fault, memory.Failures) = (null, 0);
        var now = new DnsWritten { Name = wanted.Name, Values = wanted.Values, Ttl = wanted.Ttl, Driver = driver.Name, At = _time.GetUtcNow() };
        await _book.PutAsync(now, fence, cancel);
        var values = DnsRecord.Said(wanted.Values);
        LogSet(_logger, wanted.Name, values, why.Reason);
        if (why.ByHand || written is null || !wanted.Is(written.Values))
        {
            await _events.RecordAsync(why.ByHand ? "dns.repaired" : "dns.written", "server", why.ByHand ? $"{wanted.Name} is put back to {values}: {why.Reason}." : $"{wanted.Name} is now {values}.",
                new Dictionary<string, string> { ["name"] = wanted.Name, ["values"] = values, ["driver"] = driver.Name }, cancel);
        }
        await ReadAsync(driver, wanted, memory, cancel);
        return now;
    }

    private async Task TellAsync(DnsRecord wanted, Memory memory, IReadOnlySet<string> dead, CancellationToken cancel)
    {
        var alert = DnsAlerts.Decide(wanted, memory.Fault, memory.Readings, memory.TroubledFrom is { } from ? _time.GetElapsedTime(from) : TimeSpan.Zero, dead);
        if (alert is not null && memory.Told != (alert.Title, alert.Details))
        {
            await _alerts.RaiseAsync(alert, cancel);
            memory.Told = (alert.Title, alert.Details);
        }
        else if (memory.TroubledFrom is null && memory.Told != Well)
        {
            await _alerts.ClearAsync(DnsAlerts.KeyOf(wanted.Name), $"Every authoritative server answers {DnsRecord.Said(wanted.Values)} for {wanted.Name}.", cancel);
            memory.Told = Well;
        }
    }

    private static readonly (string, string) Well = ("", "");

    /// <summary>What a pass remembers of a name; a restart loses nothing but how long things have been so.</summary>
    private sealed class Memory
    {
        public DnsRecord? Wanted { get; set; }
        public IReadOnlyList<DnsReading> Readings { get; set; } = [];
        public Dictionary<string, DateTimeOffset> Since { get; set; } = [];
        public long? ReadAt { get; set; }
        public DateTimeOffset? ReadClock { get; set; }
        public DnsFault? Fault { get; set; }
        public int Failures { get; set; }
        public long TriedAt { get; set; }
        public long? TroubledFrom { get; set; }
        public DateTimeOffset? TroubledSince { get; set; }
        public string? Would { get; set; }

        /// <summary>What was last told of it; null: nothing since the start, so that an alert of before is cleared once.</summary>
        public (string Title, string Details)? Told { get; set; }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Name} is now {Values}: {Reason}.")]
    private static partial void LogSet(ILogger logger, string name, string values, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Would have written {Name} as {Values}: {Reason}.")]
    private static partial void LogWould(ILogger logger, string name, string values, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Name} could not be written. {Message} {Fix}")]
    private static partial void LogFailed(ILogger logger, string name, string message, string fix);
}

/// <summary>A name as a pass saw it.</summary>
/// <param name="Wanted">What it should answer.</param>
/// <param name="Written">What was last written; null: nothing yet.</param>
/// <param name="Settled">Whether every authoritative server answers it.</param>
/// <param name="Reason">A clause that says why it is taken to be so.</param>
/// <param name="TroubledSince">Since when it is not as it should be.</param>
/// <param name="Fault">What the last write ran into.</param>
/// <param name="Servers">The authoritative servers' answers.</param>
/// <param name="ReadAt">When they were asked.</param>
internal sealed record DnsNameView(DnsRecord Wanted, DnsWritten? Written, bool Settled, string Reason, DateTimeOffset? TroubledSince, DnsFault? Fault, IReadOnlyList<DnsServerView> Servers, DateTimeOffset? ReadAt);

/// <param name="Reading">What it answers.</param>
/// <param name="Right">Whether that is what it should.</param>
/// <param name="Since">Since when it has answered so, as far as was seen.</param>
internal sealed record DnsServerView(DnsReading Reading, bool Right, DateTimeOffset Since);
