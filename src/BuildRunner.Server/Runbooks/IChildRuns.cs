using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Runbooks;

/// <summary>Runs that are steps of other runs.</summary>
internal interface IChildRuns
{
    /// <summary>
    /// Begins the run, or finds the one that began under this id, and answers what it came to when it has ended. <paramref name="stop"/> asks it to be
    /// taken back and goes on waiting for its end; <paramref name="cancel"/> leaves it to the next server.
    /// </summary>
    Task<ActionOutcome> RunAsync(ChildRun child, string actor, string reason, Fence fence, CancellationToken stop, CancellationToken cancel);

    /// <summary>Whether the run of this id has succeeded already.</summary>
    Task<ActionVerdict> LookAsync(string id, CancellationToken cancel);
}

/// <summary>A run as a step wants it.</summary>
internal sealed record ChildRun(string Id, string Runbook, IReadOnlyDictionary<string, string> Inputs, string Parent, string Step);
