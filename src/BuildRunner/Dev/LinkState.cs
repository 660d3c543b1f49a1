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

/// <summary>A link as its connections see it: its state, its delay one way, and a wait for the end of silence.</summary>
internal sealed class Link(int viewer, int target, TimeSpan oneWay)
{
    private TaskCompletionSource _open = Opened();

    public int Viewer => viewer;
    public int Target => target;
    public TimeSpan OneWay => oneWay;
    public LinkState State { get; private set; } = LinkState.Open;

    /// <summary>Done unless the link is silent.</summary>
    public Task Passing => Volatile.Read(ref _open).Task;

    public void Set(LinkState state)
    {
        if (state == LinkState.Silent && State != LinkState.Silent)
            Volatile.Write(ref _open, new(TaskCreationOptions.RunContinuationsAsynchronously));
        State = state;
        if (state != LinkState.Silent)
            _open.TrySetResult();
    }

    private static TaskCompletionSource Opened()
    {
        var open = new TaskCompletionSource();
        open.SetResult();
        return open;
    }
}
