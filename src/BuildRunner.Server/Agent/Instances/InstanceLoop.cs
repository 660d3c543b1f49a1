using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent.Instances;

/// <summary>The `process` driver: the instances that the assignment asks for run here, and no others.</summary>
internal sealed partial class InstanceLoop : ReconcileLoop
{
    private static readonly TimeSpan ProbeMax = TimeSpan.FromSeconds(1);

    /// <summary>How long, after the agent's start, instances wait for this host's database to answer for the first time.</summary>
    internal static readonly TimeSpan DatabaseFirstMax = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan EndMax = TimeSpan.FromSeconds(2.5);
    private readonly AgentOptions _options;
    private readonly AssignmentBook _book;
    private readonly AddressWriter _address;
    private readonly DatabaseKeeper _keeper;
    private readonly TimeProvider _time;
    private readonly long _began;
    private readonly ILogger<InstanceLoop> _logger;
    private readonly HttpClient _http;
    private readonly string _logs;
    private readonly List<InstanceProcess> _instances = [];
    private IReadOnlyList<InstanceReading> _readings = [];

    public InstanceLoop(AgentOptions options, AssignmentBook book, AddressWriter address, DatabaseKeeper keeper, TimeProvider time, ILogger<InstanceLoop> logger)
        : base(TimeSpan.FromMilliseconds(250), time, logger)
    {
        (_options, _book, _address, _keeper, _time, _logger) = (options, book, address, keeper, time, logger);
        _began = time.GetTimestamp();
        _http = new HttpClient(new SocketsHttpHandler { UseProxy = false, UseCookies = false, AllowAutoRedirect = false, ConnectTimeout = ProbeMax }) { Timeout = ProbeMax };
        _logs = Path.Combine(options.DataFolder, "logs");
        Directory.CreateDirectory(_logs);
        book.Changed += Wake;
        keeper.Changed += Wake;
    }

    public IReadOnlyList<InstanceReading> Readings => Volatile.Read(ref _readings);

    /// <summary>An instance came, went, or changed between ready and not.</summary>
    public event Action? Changed;

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (_book.Current is not { } assignment)
            return;
        if (!MayStart(assignment.Database is not null, _keeper.HasAnswered, _time.GetElapsedTime(_began)))
            return;
        var wanted = InstanceCommand.All(assignment.Services, _options, _address.PathOf(assignment.Database?.Name ?? "main")).ToList();
        foreach (var instance in _instances.Where(i => !i.Stopping && !wanted.Any(w => w.Id == i.Command.Id && w.IsSame(i.Command))))
        {
            LogStops(_logger, instance.Command.Id);
            _ = instance.StopAsync(); // awaited by looking: it is gone when it does not run any more
        }
        foreach (var gone in _instances.Where(i => i is { Stopping: true, Running: false }).ToList())
        {
            _instances.Remove(gone);
            gone.Dispose();
        }
        foreach (var command in wanted.Where(w => !_instances.Any(i => i.Command.Port == w.Port || i.Command.Id == w.Id)))
        {
            LogStarts(_logger, command.Id, command.Program);
            _instances.Add(new InstanceProcess(command, _logs, _time));
        }
        foreach (var instance in _instances)
            instance.Keep();
        await Task.WhenAll(_instances.Select(i => LookAsync(i, cancel)));
        Publish();
    }

    /// <summary>Without the database of their host instances could not serve, and a dozen that start at once would only delay it.</summary>
    internal static bool MayStart(bool hasDatabase, bool hasAnswered, TimeSpan sinceStart) => !hasDatabase || hasAnswered || sinceStart >= DatabaseFirstMax;

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        await Task.WhenAll(_instances.Select(i => i.StopAsync(EndMax)));
    }

    public override void Dispose()
    {
        _http.Dispose();
        foreach (var instance in _instances)
            instance.Dispose();
        base.Dispose();
    }

    private async Task LookAsync(InstanceProcess instance, CancellationToken cancel)
    {
        if (!instance.Running)
            return;
        try
        {
            using var answer = await _http.GetAsync(new Uri(instance.Address(_options.Host), instance.Command.Service.ReadyPath), HttpCompletionOption.ResponseHeadersRead, cancel);
            instance.Ready = answer.IsSuccessStatusCode;
            instance.Detail = answer.IsSuccessStatusCode ? null : $"{instance.Command.Service.ReadyPath} answers {(int)answer.StatusCode}";
        }
        catch (Exception error) when (error is HttpRequestException or OperationCanceledException && !cancel.IsCancellationRequested)
        {
            instance.Ready = false;
            instance.Detail = $"{instance.Command.Service.ReadyPath} does not answer";
        }
    }

    private void Publish()
    {
        var readings = _instances.Select(i => i.Reading(_options.Host)).ToArray();
        var before = Readings;
        Volatile.Write(ref _readings, readings);
        if (!readings.SequenceEqual(before))
            Changed?.Invoke();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Instance {Instance} starts: {Program}.")]
    private static partial void LogStarts(ILogger logger, string instance, string program);

    [LoggerMessage(Level = LogLevel.Information, Message = "Instance {Instance} stops.")]
    private static partial void LogStops(ILogger logger, string instance);
}
