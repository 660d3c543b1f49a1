namespace BuildRunner.Server.Hosting;

/// <summary>
/// Whether this server may act on databases, traffic and names. Two things forbid it: it has just started and has not heard yet whether anything was
/// done without it, and hosts have obeyed another server's higher epoch or token since (`br dr failover --without-server`). Then it reads only, until
/// it has adopted that server's journal.
/// </summary>
/// <param name="time">The clock.</param>
/// <param name="listenMax">How long it listens after its start before it acts; zero: not at all.</param>
/// <param name="tokenFloor">Its fencing token is above this one: those that hosts obeyed before it.</param>
internal sealed class Standing(TimeProvider time, TimeSpan listenMax = default, long tokenFloor = 0)
{
    private readonly long _started = time.GetTimestamp();
    private string? _overtaken;
    private volatile bool _heard;

    public long TokenFloor => tokenFloor;

    /// <summary>Since this server started.</summary>
    public TimeSpan Age => time.GetElapsedTime(_started);

    public bool Listening => !_heard && Age < listenMax;

    /// <summary>What hosts obeyed that this server does not know of, a sentence; null: nothing.</summary>
    public string? Overtaken => Volatile.Read(ref _overtaken);

    /// <summary>Why this server acts on nothing now; null: it may.</summary>
    public string? WhyNot => Overtaken ?? (Listening ? "This server has just started and listens first whether anything was done without it; ask again in two seconds." : null);

    /// <summary>Everybody who could know of another server has been heard.</summary>
    public void Heard() => _heard = true;

    public void Judge(string? overtaken) => Volatile.Write(ref _overtaken, overtaken);
}
