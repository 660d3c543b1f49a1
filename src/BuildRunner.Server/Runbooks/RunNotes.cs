using System.Collections.Concurrent;
using BuildRunner.Client.Runbooks;

namespace BuildRunner.Server.Runbooks;

/// <summary>Notes of steps under way, for whoever watches; in memory only, the last 50 of a run.</summary>
internal sealed class RunNotes(TimeProvider time)
{
    private const int Kept = 50;

    private readonly ConcurrentDictionary<string, (long First, List<RunNote> Notes)> _runs = new(StringComparer.Ordinal);

    public event Action<string>? Noted;

    public void Add(string run, string step, string text)
    {
        var (_, notes) = _runs.GetOrAdd(run, _ => (0, []));
        lock (notes)
        {
            notes.Add(new(step, text, time.GetUtcNow()));
            if (notes.Count > Kept)
            {
                notes.RemoveAt(0);
                _runs[run] = (_runs[run].First + 1, notes);
            }
        }
        Noted?.Invoke(run);
    }

    /// <summary>Notes from a number on, and the number to ask for next.</summary>
    public (IReadOnlyList<RunNote> Notes, long Next) After(string run, long number)
    {
        if (!_runs.TryGetValue(run, out var known))
            return ([], 0);
        lock (known.Notes)
        {
            var (first, notes) = _runs.TryGetValue(run, out var now) ? now : known;
            return ([.. notes.Skip((int)Math.Clamp(number - first, 0, Kept))], first + notes.Count);
        }
    }

    public void Forget(string run) => _runs.TryRemove(run, out _);
}
