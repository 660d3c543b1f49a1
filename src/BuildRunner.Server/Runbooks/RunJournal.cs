using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Runbooks;

/// <summary>The journal of one run: appended at a known position under the leader's fence, and folded as it grows.</summary>
internal sealed class RunJournal : IDisposable
{
    private const int PageSize = 1000;

    private readonly IStore _store;
    private readonly CrashPoint _crash;
    private readonly SemaphoreSlim _gate = new(1);

    private RunJournal(IStore store, CrashPoint crash, string run)
    {
        (_store, _crash, Run) = (store, crash, run);
    }

    public string Run { get; }

    public long Position { get; private set; }

    /// <summary>Null while the journal has no line.</summary>
    public RunState? State { get; private set; }

    public static string LogOf(string run) => $"runs/{run}";

    public static async Task<RunJournal> OpenAsync(IStore store, CrashPoint crash, string run, CancellationToken cancel)
    {
        var journal = new RunJournal(store, crash, run);
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
    public Task AppendAsync(RunEvent happened, Fence fence, CancellationToken cancel) => AppendAsync(_ => happened, fence, cancel);

    /// <summary>Writes the line that follows from where the run stands at that moment; null: none does, and nothing is written.</summary>
    public async Task<RunEvent?> AppendAsync(Func<RunState?, RunEvent?> make, Fence fence, CancellationToken cancel)
    {
        RunEvent? happened;
        await _gate.WaitAsync(cancel);
        try
        {
            happened = make(State);
            if (happened is null)
                return null;
            var next = RunState.Apply(State, happened); // before writing: a line that cannot follow never gets into the journal
            // Once begun the write is not given up: a line whose fate is unknown would have to be read back.
            switch (await _store.AppendAsync(LogOf(Run), Journal.Write(happened), Position, fence, CancellationToken.None))
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
        return happened;
    }

    public void Dispose() => _gate.Dispose();
}

/// <summary>Another server goes on with the run; this one stops at once and touches nothing more.</summary>
internal sealed class JournalLostException(string message) : Exception(message);
