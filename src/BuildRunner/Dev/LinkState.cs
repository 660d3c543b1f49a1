namespace BuildRunner.Dev;

/// <summary>How a link between two regions behaves.</summary>
internal enum LinkState
{
    Open,

    /// <summary>Nobody listens: connections are refused, existing ones were reset.</summary>
    Refusing,

    /// <summary>Nothing comes through and nothing is answered; what was under way goes on when the link is mended.</summary>
    Silent,
}

/// <summary>Which way a silent region is silent.</summary>
internal enum Silence
{
    Both,

    /// <summary>Nothing reaches it; what it sends arrives.</summary>
    In,

    /// <summary>Nothing that it sends arrives.</summary>
    Out,
}

/// <summary>
/// A link as its connections see it: its state, its delay one way, and a wait for the end of silence. A link that is silent one way lets nobody
/// connect, and bytes of what is connected pass the other way.
/// </summary>
internal sealed class Link(int viewer, int target, TimeSpan oneWay)
{
    private TaskCompletionSource _open = Opened();
    private Silence? _silence;
    private int _deaf;

    public int Viewer => viewer;
    public int Target => target;
    public TimeSpan OneWay => oneWay;
    public LinkState State { get; private set; } = LinkState.Open;

    /// <summary>Done unless the link is silent.</summary>
    public Task Passing => Volatile.Read(ref _open).Task;

    /// <summary>Done unless bytes from the viewer to the target are lost.</summary>
    public Task PassingOut => SilentTo(target) ? Passing : Task.CompletedTask;

    /// <summary>Done unless bytes from the target to the viewer are lost.</summary>
    public Task PassingBack => SilentTo(viewer) ? Passing : Task.CompletedTask;

    /// <summary>Which way <paramref name="region"/> is silent through this link; null: it is not, or both ways.</summary>
    public Silence? OneWayOf(int region) => State != LinkState.Silent || _silence is null or Silence.Both ? null : _deaf == region ? Silence.In : Silence.Out;

    /// <param name="state">What it is from now on.</param>
    /// <param name="region">Silent: the region that is.</param>
    /// <param name="silence">Silent: which way that region is.</param>
    public void Set(LinkState state, int region = 0, Silence silence = Silence.Both)
    {
        if (state == LinkState.Silent && State != LinkState.Silent)
            Volatile.Write(ref _open, new(TaskCreationOptions.RunContinuationsAsynchronously));
        (_silence, _deaf) = (silence, silence == Silence.In ? region : region == viewer ? target : viewer);
        State = state;
        if (state != LinkState.Silent)
            _open.TrySetResult();
    }

    /// <summary>Bytes towards this end are lost.</summary>
    private bool SilentTo(int end) => State == LinkState.Silent && (_silence is null or Silence.Both || _deaf == end);

    private static TaskCompletionSource Opened()
    {
        var open = new TaskCompletionSource();
        open.SetResult();
        return open;
    }
}
