using BuildRunner.Client.Regions;

namespace BuildRunner.Server.Hosting;

/// <summary>What a prober remembers of one target.</summary>
internal sealed class ProbeState(ProbeTarget target, CancellationTokenSource stop)
{
    private static readonly TimeSpan Window = TimeSpan.FromMinutes(1);
    private readonly Lock _gate = new();
    private readonly (long At, double Milliseconds)[] _latencies = new (long, double)[64];
    private int _recorded;
    private int _failures;
    private int _successes;
    private DateTimeOffset? _lastSuccess;
    private DateTimeOffset? _lastFailure;
    private string? _lastError;
    private bool _wasUp;

    public ProbeTarget Target => target;
    public CancellationTokenSource Stop => stop;
    public Task Loop { get; set; } = Task.CompletedTask;
    public bool? Up { get; private set; }

    /// <summary>Never seen up yet, or on its way up: what starts or recovers should not wait for whole intervals.</summary>
    public bool IsRising => !_wasUp || (Up == false && _successes > 0);

    /// <summary>Counts one look; an empty error is a success.</summary>
    public void Record(string error, TimeSpan latency, DateTimeOffset now, long timestamp)
    {
        lock (_gate)
        {
            if (error.Length == 0)
            {
                _successes++;
                _failures = 0;
                _lastSuccess = now;
                _latencies[_recorded++ % _latencies.Length] = (timestamp, Math.Max(0, latency.TotalMilliseconds));
                // The rise count is for what was down: the first thing ever seen of a target is believed when it is good.
                if (Up is null || !_wasUp || _successes >= target.Rise)
                    Up = _wasUp = true;
            }
            else
            {
                _failures++;
                _successes = 0;
                _lastFailure = now;
                _lastError = error;
                if (_failures >= target.Fall)
                    Up = false;
            }
        }
    }

    /// <summary>One reading for the targets of a service in a region: as good as its best target.</summary>
    public static TargetReading Merge(IReadOnlyList<ProbeState> states, (int Requests, int Failures) passive, TimeProvider time, long now)
    {
        var readings = states.Select(s => s.Read(time, now)).ToList();
        var samples = readings.Sum(r => r.LatencySamples);
        return new TargetReading
        {
            Region = readings[0].Region,
            Service = readings[0].Service,
            Up = readings.Any(r => r.Up == true) ? true : readings.Any(r => r.Up is null) ? null : false,
            FailuresInRow = readings.Min(r => r.FailuresInRow),
            SuccessesInRow = readings.Max(r => r.SuccessesInRow),
            LastSuccess = readings.Max(r => r.LastSuccess),
            LastFailure = readings.Max(r => r.LastFailure),
            LastError = readings.Where(r => r.LastFailure is not null).MaxBy(r => r.LastFailure)?.LastError,
            LatencyMs = samples == 0 ? null : readings.Sum(r => (r.LatencyMs ?? 0) * r.LatencySamples) / samples,
            LatencySamples = samples,
            Targets = readings.Count,
            Down = [.. states.Where(s => s.Up == false).Select(s => s.Target.Address)],
            PassiveRequests = passive.Requests,
            PassiveFailures = passive.Failures,
        };
    }

    private TargetReading Read(TimeProvider time, long now)
    {
        lock (_gate)
        {
            var (sum, count) = (0.0, 0);
            for (var i = 0; i < Math.Min(_recorded, _latencies.Length); i++)
            {
                if (time.GetElapsedTime(_latencies[i].At, now) > Window)
                    continue;
                sum += _latencies[i].Milliseconds;
                count++;
            }
            return new TargetReading
            {
                Region = target.Region,
                Service = target.Service,
                Up = Up,
                FailuresInRow = _failures,
                SuccessesInRow = _successes,
                LastSuccess = _lastSuccess,
                LastFailure = _lastFailure,
                LastError = _lastError,
                LatencyMs = count == 0 ? null : sum / count,
                LatencySamples = count,
            };
        }
    }
}

/// <summary>User requests of the last ten seconds, in ten buckets.</summary>
internal sealed class PassiveWindow(TimeProvider time)
{
    private const int Buckets = 10;
    private readonly Lock _gate = new();
    private readonly long _start = time.GetTimestamp();
    private readonly (long Second, int Requests, int Failures)[] _buckets = new (long, int, int)[Buckets];

    public void Record(bool failed)
    {
        var second = Second();
        lock (_gate)
        {
            ref var bucket = ref _buckets[second % Buckets];
            if (bucket.Second != second)
                bucket = (second, 0, 0);
            bucket.Requests++;
            bucket.Failures += failed ? 1 : 0;
        }
    }

    public (int Requests, int Failures) Read()
    {
        var second = Second();
        lock (_gate)
        {
            var (requests, failures) = (0, 0);
            foreach (var bucket in _buckets)
            {
                if (second - bucket.Second >= Buckets)
                    continue;
                requests += bucket.Requests;
                failures += bucket.Failures;
            }
            return (requests, failures);
        }
    }

    private long Second() => (long)time.GetElapsedTime(_start).TotalSeconds;
}
