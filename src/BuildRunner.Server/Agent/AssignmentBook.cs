using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent;

/// <summary>The newest assignment, kept on disk too: an agent that starts while the server is away goes on with it. It never starts a primary by itself.</summary>
internal sealed class AssignmentBook
{
    private readonly string _path;
    private readonly AgentStateFile _state;
    private Assignment? _current;

    public AssignmentBook(AgentOptions options, AgentStateFile state)
    {
        _path = Path.Combine(options.DataFolder, "assignment.json");
        _state = state;
        if (!File.Exists(_path))
            return;
        // What must never be forgotten is in the state; an assignment that a loss of power cut short comes again from the server.
        try { _current = JsonSerializer.Deserialize(File.ReadAllBytes(_path), WireJson.Default.Assignment); }
        catch (JsonException) { File.Delete(_path); }
    }

    /// <summary>Why the newest assignment was not taken, and no order is; null: it was.</summary>
    public string? Refusal { get; private set; }

    public Assignment? Current => Volatile.Read(ref _current);

    /// <summary>Called after a newer assignment was taken; must not block.</summary>
    public event Action? Changed;

    /// <summary>Takes an assignment unless a server with a higher fencing token has spoken before.</summary>
    public void Take(Assignment assignment)
    {
        var seen = _state.Current;
        if (assignment.Database is { Lineage: { } lineage } && seen.Lineage is { } known && lineage != known)
        {
            Refusal = $"the server counts its epochs anew (its store was lost or is another's), and this host has data of epoch {seen.SeenEpoch} as it was counted before: it keeps what it has and obeys no order; give the server its store back";
            Changed?.Invoke();
            throw new InvalidOperationException($"An assignment was refused: {Refusal}.");
        }
        if (assignment.FencingToken < seen.SeenToken)
            throw new InvalidOperationException($"An assignment of fencing token {assignment.FencingToken} was refused: token {seen.SeenToken} was seen.");
        Refusal = null;
        _state.Change(s => s with
        {
            Lineage = assignment.Database?.Lineage ?? s.Lineage,
            SeenToken = assignment.FencingToken,
            SeenEpoch = Math.Max(s.SeenEpoch, assignment.Database?.Epoch ?? 0),
        });
        AtomicFile.Write(_path, JsonSerializer.SerializeToUtf8Bytes(assignment, WireJson.Default.Assignment)); // a failover without the server rests on it
        Volatile.Write(ref _current, assignment);
        Changed?.Invoke();
    }
}
