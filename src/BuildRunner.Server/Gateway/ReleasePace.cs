namespace BuildRunner.Server.Gateway;

/// <summary>
/// Lets held writes go in their order and not all at once: the application was sized for the ordinary flow and would refuse the herd. A few at
/// first; one more for every round that was answered, half after an answer that says the application has too much (additive increase,
/// multiplicative decrease, RFC 5681). While held ones wait, writes that arrive queue behind them.
/// </summary>
internal sealed class ReleasePace
{
    private const double First = 3;
    private const double Most = 64;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Lane> _lanes = new(StringComparer.Ordinal);

    /// <summary>Null: nothing is being let go, and the write need not <see cref="Leave"/>. False: its time was up, and it must not go.</summary>
    public async ValueTask<bool?> EnterAsync(string database, bool held, TimeSpan patience, TimeProvider time, CancellationToken aborted)
    {
        TaskCompletionSource turn;
        lock (_gate)
        {
            if (!_lanes.TryGetValue(database, out var lane))
            {
                if (!held)
                    return null;
                _lanes[database] = lane = new Lane();
            }
            if (lane.Waiting.Count == 0 && lane.Under < (int)lane.Limit)
            {
                lane.Under++;
                return true;
            }
            lane.Waiting.AddLast(turn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        }
        await turn.Task.WaitAsync(patience > TimeSpan.Zero ? patience : TimeSpan.Zero, time, aborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        lock (_gate)
        {
            // Its turn may come in the very moment in which it gives up.
            if (turn.Task.IsCompletedSuccessfully && !aborted.IsCancellationRequested)
                return true;
            if (turn.Task.IsCompletedSuccessfully)
                Next(database, answered: null);
            else if (_lanes.TryGetValue(database, out var lane))
                lane.Waiting.Remove(turn);
        }
        aborted.ThrowIfCancellationRequested();
        return false;
    }

    /// <param name="database">What it wrote to.</param>
    /// <param name="answered">True: answered well; false: with a failure; null: it never went.</param>
    public void Leave(string database, bool? answered)
    {
        lock (_gate)
            Next(database, answered);
    }

    private void Next(string database, bool? answered)
    {
        if (!_lanes.TryGetValue(database, out var lane))
            return;
        lane.Under--;
        lane.Limit = answered switch
        {
            true => Math.Min(Most, lane.Limit + (1 / lane.Limit)),
            false => Math.Max(1, lane.Limit / 2),
            null => lane.Limit,
        };
        while (lane.Waiting.First is { } next && lane.Under < (int)lane.Limit)
        {
            lane.Waiting.RemoveFirst();
            if (next.Value.TrySetResult())
                lane.Under++;
        }
        if (lane is { Under: <= 0, Waiting.Count: 0 })
            _lanes.Remove(database);
    }

    private sealed class Lane
    {
        public LinkedList<TaskCompletionSource> Waiting { get; } = new();
        public double Limit { get; set; } = First;

        /// <summary>Writes that are out.</summary>
        public int Under { get; set; }
    }
}
