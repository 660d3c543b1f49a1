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
        if (File.Exists(_path))
            _current = JsonSerializer.Deserialize(File.ReadAllBytes(_path), WireJson.Default.Assignment);
    }

    public Assignment? Current => Volatile.Read(ref _current);

    /// <summary>Called after a newer assignment was taken; must not block.</summary>
    public event Action? Changed;

    /// <summary>Takes an assignment unless a server with a higher fencing token has spoken before.</summary>
    public void Take(Assignment assignment)
    {
        if (assignment.FencingToken < _state.Current.SeenToken)
            throw new InvalidOperationException($"An assignment of fencing token {assignment.FencingToken} was refused: token {_state.Current.SeenToken} was seen.");
        _state.Change(s => s with
        {
            SeenToken = assignment.FencingToken,
            SeenEpoch = Math.Max(s.SeenEpoch, assignment.Database?.Epoch ?? 0),
        });
        AtomicFile.Write(_path, JsonSerializer.SerializeToUtf8Bytes(assignment, WireJson.Default.Assignment));
        Volatile.Write(ref _current, assignment);
        Changed?.Invoke();
    }
}
