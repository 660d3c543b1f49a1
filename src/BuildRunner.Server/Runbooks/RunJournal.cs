using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Runbooks;

/// <summary>
/// The journal of one run: appended at a known position under the leader's fence, and folded as it grows. The run's record, which lists and
/// pages show, is written with every line, so that it is never older than the journal.
/// </summary>
internal sealed class RunJournal : IDisposable
{
    private const int PageSize = 1000;

    private readonly IStore _store;
    private readonly CrashPoint _crash;
    private readonly string _over;
    private readonly SemaphoreSlim _gate = new(1);

    private RunJournal(IStore store, CrashPoint crash, string run, string over)
    {
        (_store, _crash, Run, _over) = (store, crash, run, over);
    }

    public string Run { get; }

    public long Position { get; private set; }

    /// <summary>Null while the journal has no line.</summary>
    public RunState? State { get; private set; }

    public static string LogOf(string run) => $"runs/{run}";

    public static async Task<RunJournal> OpenAsync(IStore store, CrashPoint crash, string run, string over, CancellationToken cancel)
    {
        var journal = new RunJournal(store, crash, run, over);
        while (true)
        {
            var page = await store.ReadAsync(LogOf(run), journal.Position, PageSize, cancel);
            foreach (var record in page)
            {
                journal.State = RunState.Apply(journal.State, Journal.Read(record.Value.Span));
                journal.Position = record.Position;
            }
            if (page.Count < PageSize)
                return journal;
        }
    }

    /// <summary>Writes a line; throws <see cref="JournalLostException"/> when another server has taken the run.</summary>
    public Task AppendAsync(RunEvent happened, Fence fence, CancellationToken cancel) => AppendAsync(_ => [happened], fence, null, cancel);

    /// <summary>Writes the line that follows from where the run stands at that moment; false: none does, and nothing is written.</summary>
    public Task<bool> AppendAsync(Func<RunState, RunEvent?> make, Fence fence, CancellationToken cancel) =>
        AppendAsync(state => make(state!) is { } line ? [line] : [], fence, null, cancel);

    /// <summary>Writes the lines that follow from where the run stands at that moment, and the record, as one; a run that ends gives it its report.</summary>
    public async Task<bool> AppendAsync(Func<RunState?, IReadOnlyList<RunEvent>> make, Fence fence, RunReport? report, CancellationToken cancel)
    {
        await _gate.WaitAsync(cancel);
        try
        {
            var lines = make(State);
            if (lines.Count == 0)
                return false;
            var next = lines.Aggregate(State, RunState.Apply)!; // before writing: a line that cannot follow never gets into the journal
            var record = RunRecords.Write(RunRecords.Of(next, Position + lines.Count, _over, report));
            // Once begun the write is not given up: a line whose fate is unknown would have to be read back.
            switch (await _store.AppendAsync(LogOf(Run), [.. lines.Select(line => (ReadOnlyMemory<byte>)Journal.Write(line))], record, Position, fence, CancellationToken.None))
            {
                case StoreWrite.Done done:
                    (State, Position) = (next, done.Version);
                    break;
                case StoreWrite.Fenced fenced:
                    throw new JournalLostException($"Run {Run} belongs to another server now (fencing token {fenced.Current}).");
                case StoreWrite.Conflict conflict:
                    throw new JournalLostException($"The journal of run {Run} ends at {conflict.Actual} and not at {Position}: somebody else writes it.");
            }
        }
        finally { _gate.Release(); }
        _crash.Written();
        return true;
    }

    public void Dispose() => _gate.Dispose();
}

/// <summary>Another server goes on with the run; this one stops at once and touches nothing more.</summary>
internal sealed class JournalLostException(string message) : Exception(message);
