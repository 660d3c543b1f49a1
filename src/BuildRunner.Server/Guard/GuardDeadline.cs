namespace BuildRunner.Server.Guard;

/// <summary>The end of the leave to acknowledge writes, on CLOCK_BOOTTIME; none until one was sent, and then it only grows.</summary>
internal sealed class GuardDeadline(Action reached)
{
    private static readonly TimeSpan CheckInterval = TimeSpan.FromMilliseconds(50);
    private readonly Lock _gate = new();
    private Timer? _timer;
    private long? _deadline;

    public long? Milliseconds
    {
        get { lock (_gate) return _deadline; }
    }

    public long Extend(long deadline)
    {
        lock (_gate)
        {
            _deadline = Math.Max(_deadline ?? deadline, deadline);
            _timer ??= new Timer(_ => Check(), null, TimeSpan.Zero, CheckInterval);
            return _deadline.Value;
        }
    }

    private void Check()
    {
        lock (_gate)
        {
            if (GuardNative.BootMilliseconds() < _deadline)
                return;
            _timer?.Dispose();
        }
        reached();
    }
}
