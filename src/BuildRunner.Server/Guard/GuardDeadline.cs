using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Guard;

/// <summary>
/// The end of the leave to acknowledge writes, on CLOCK_BOOTTIME; none until one was sent, and then it only grows until it is reached. It may be lifted,
/// and a deadline that comes after that is the first again.
/// </summary>
internal sealed class GuardDeadline(Action reached, Func<long>? clock = null)
{
    private static readonly TimeSpan CheckInterval = TimeSpan.FromMilliseconds(50);
    private readonly Func<long> _clock = clock ?? GuardNative.BootMilliseconds;
    private readonly Lock _gate = new();
    private Timer? _timer;
    private long? _deadline;

    public long? Milliseconds
    {
        get { lock (_gate) return _deadline; }
    }

    /// <summary>The deadline in force afterwards: one that is past stays, because what it ended does not begin again by itself.</summary>
    public long Extend(long deadline)
    {
        lock (_gate)
        {
            if (_deadline is null or GateName.NoDeadline || deadline == GateName.NoDeadline)
                _deadline = deadline;
            else if (_clock() < _deadline)
                _deadline = Math.Max(_deadline.Value, deadline);
            _timer ??= new Timer(_ => Check(), null, TimeSpan.Zero, CheckInterval);
            return _deadline.Value;
        }
    }

    private void Check()
    {
        lock (_gate)
        {
            if (_clock() < _deadline)
                return;
            _timer?.Dispose();
        }
        reached();
    }
}
