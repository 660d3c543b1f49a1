using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>
/// What reads a region's database and carries out the orders of runs on it; the assignment says which. Each order may come twice. One that cannot be
/// carried out throws a sentence for a person.
/// </summary>
internal interface IDatabaseDriver
{
    /// <summary>The newest reading; null before the first and where there is no database.</summary>
    DatabaseReading? Last { get; }

    /// <summary>See <see cref="AgentReport.StartAsk"/>; null: nothing is asked.</summary>
    string? StartAsk { get; }

    Task<FenceResult> FenceAsync(FenceOrder order, CancellationToken cancel);
    Task<CutResult> CutAsync(CutOrder order, CancellationToken cancel);
    Task<CutResult> UncutAsync(CutOrder order, CancellationToken cancel);
    Task<CutResult> CatchUpAsync(CatchUpOrder order, CancellationToken cancel);
    Task<PromoteResult> PromoteAsync(PromoteOrder order, CancellationToken cancel);
    Task<PromoteResult> RestartAsync(PromoteOrder order, CancellationToken cancel);
    Task<InspectResult> InspectAsync(SwitchOrder order, CancellationToken cancel);
    Task<PrepareResult> PrepareAsync(SwitchOrder order, CancellationToken cancel);
    Task<SealResult> SealAsync(SwitchOrder order, CancellationToken cancel);
    Task<SealResult> UnsealAsync(SwitchOrder order, CancellationToken cancel);
    Task<ReachResult> ReachAsync(ReachOrder order, CancellationToken cancel);
}
