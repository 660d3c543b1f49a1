using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>Keeps the users' name on the live gateways, and `primary.NAME` on the primary's region.</summary>
internal sealed partial class DnsLoop : ReconcileLoop
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    /// <summary>A server that has just started has not heard of everyone yet: nothing is withdrawn for so long.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(5);

    private readonly IReadOnlyList<IDnsDriver> _drivers;
    private readonly IPolicySource _policy;
    private readonly INodeReports _reports;
    private readonly IRegionHealth _health;
    private readonly Epochs _epochs;
    private readonly Lead _lead;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly long _started;
    private readonly IDisposable _hint;

    public DnsLoop(IEnumerable<IDnsDriver> drivers, IPolicySource policy, INodeReports reports, IRegionHealth health, Epochs epochs, Lead lead, TimeProvider time, ILogger<DnsLoop> logger)
        : base(Interval, time, logger)
    {
        _drivers = [.. drivers];
        (_policy, _reports, _health, _epochs, _lead, _time, _logger) = (policy, reports, health, epochs, lead, time, logger);
        _started = time.GetTimestamp();
        _hint = health.OnChange(Wake);
    }

    public string DriverName => Driver?.Name ?? "none";

    private IDnsDriver? Driver => _policy.Current.Dns.Name.Length == 0 ? null : _drivers.FirstOrDefault(d => d.Name == _policy.Current.Dns.Driver);

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (Driver is not { } driver)
            return;
        await driver.RefreshAsync(cancel);
        if (_lead() is not { } fence || _policy.Current.Mode == Core.Policy.PolicyMode.Observe)
            return;
        var young = _time.GetElapsedTime(_started) < Grace;
        foreach (var wanted in await DesiredAsync(cancel))
        {
            var now = await driver.ReadBackAsync(wanted.Name, wanted.Type, cancel);
            if (now.All(reading => Answers(reading, wanted)))
                continue;
            var set = young ? wanted with { Addresses = [.. wanted.Addresses.Union(now.SelectMany(r => r.Addresses ?? [])).Order(StringComparer.Ordinal)] } : wanted;
            if (young && wanted.Name.StartsWith("primary.", StringComparison.Ordinal))
                set = wanted;
            if (now.All(reading => Answers(reading, set)))
                continue;
            await WriteAsync(driver, set, fence, cancel);
            var addresses = string.Join(", ", set.Addresses);
            LogSet(_logger, set.Name, set.Type, addresses);
        }
        WriteError = null; // a failed write does not come as far as here
    }

    /// <summary>Why the last write failed, for readiness; null: it did not, or all is answered as it should be.</summary>
    public string? WriteError { get; private set; }

    private async Task WriteAsync(IDnsDriver driver, DnsRecordSet set, Storage.Fence fence, CancellationToken cancel)
    {
        try { await driver.SetAsync(set, fence, cancel); }
        catch (Exception error) when (!cancel.IsCancellationRequested)
        {
            WriteError = $"{set.Name} {set.Type}: {error.Message}";
            throw;
        }
    }

    /// <summary>Whether every authoritative server answers what it should.</summary>
    public async Task<(bool Settled, string Sentence)> CheckAsync(CancellationToken cancel)
    {
        if (Driver is not { } driver)
            return (true, "no DNS driver is set up");
        var wrong = new List<string>();
        var right = new List<string>();
        foreach (var wanted in await DesiredAsync(cancel))
        {
            foreach (var reading in await driver.ReadBackAsync(wanted.Name, wanted.Type, cancel))
            {
                var said = $"{reading.Server} answers {wanted.Name} {wanted.Type} with {(reading.Addresses is { } a ? a.Count == 0 ? "nothing" : string.Join(", ", a) : reading.Error)}";
                (Answers(reading, wanted) ? right : wrong).Add(said);
            }
        }
        return wrong.Count > 0 ? (false, string.Join("; ", wrong)) : (true, string.Join("; ", right));
    }

    public override void Dispose()
    {
        _hint.Dispose();
        base.Dispose();
    }

    private async Task<IReadOnlyList<DnsRecordSet>> DesiredAsync(CancellationToken cancel)
    {
        var policy = _policy.Current;
        var database = policy.Databases.Count > 0 ? policy.Databases[0].Name : "main";
        var record = await _epochs.GetAsync(database, cancel);
        var gateways = policy.Regions.Select(region => new DnsGateway(region.Code, region.Endpoint,
            _reports.Gateway(region.Code) is not null && _health.Current.FirstOrDefault(v => v.Code == region.Code)?.Health != HealthState.Unhealthy)).ToList();
        return DnsAnswers.Decide(policy.Dns.Name, policy.Dns.Ttl, gateways, record?.Primary);
    }

    private static bool Answers(DnsReading reading, DnsRecordSet wanted) =>
        reading.Addresses is { } addresses && addresses.Order(StringComparer.Ordinal).SequenceEqual(wanted.Addresses.Order(StringComparer.Ordinal));

    [LoggerMessage(Level = LogLevel.Information, Message = "{Name} {Type} is now {Addresses}.")]
    private static partial void LogSet(ILogger logger, string name, string type, string addresses);
}
