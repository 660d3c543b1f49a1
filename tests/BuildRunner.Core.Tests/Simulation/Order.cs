using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Simulation;

/// <summary>An order of a run to an agent.</summary>
internal sealed record Order(int Id, OrderKind Kind, int To, int Epoch, int Token, int Run)
{
    /// <summary>Promote: how the former primary was proven silent.</summary>
    public FenceProofKind? Proof { get; init; }

    /// <summary>CatchUp: the copy that holds more, and up to where.</summary>
    public int From { get; init; }
    public int Until { get; init; }
}

internal enum OrderKind
{
    Fence,
    Refuse,
    Cut,
    Uncut,
    CatchUp,
    Promote,
    Restart,
}
