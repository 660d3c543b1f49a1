using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>The driver in the box: one PostgreSQL on this host, under its guard.</summary>
internal sealed class PostgresDatabase(DatabaseOrderDesk desk, DatabaseKeeper keeper, SwitchoverDesk switchover, ReadingLoop readings, SettingsLoop settings) : IDatabaseDriver
{
    public DatabaseReading? Last => settings.Join(readings.Last);
    public string? StartAsk => keeper.StartAsk;

    public Task<FenceResult> FenceAsync(FenceOrder order, CancellationToken cancel) => desk.FenceAsync(order, cancel);
    public Task<CutResult> CutAsync(CutOrder order, CancellationToken cancel) => desk.CutAsync(order, cancel);
    public Task<CutResult> UncutAsync(CutOrder order, CancellationToken cancel) => desk.UncutAsync(order, cancel);
    public Task<CutResult> CatchUpAsync(CatchUpOrder order, CancellationToken cancel) => desk.CatchUpAsync(order, cancel);
    public Task<PromoteResult> PromoteAsync(PromoteOrder order, CancellationToken cancel) => desk.PromoteAsync(order, cancel);
    public Task<PromoteResult> RestartAsync(PromoteOrder order, CancellationToken cancel) => desk.RestartAsync(order, cancel);
    public Task<InspectResult> InspectAsync(SwitchOrder order, CancellationToken cancel) => switchover.InspectAsync(order, cancel);
    public Task<PrepareResult> PrepareAsync(SwitchOrder order, CancellationToken cancel) => switchover.PrepareAsync(order, cancel);
    public Task<SealResult> SealAsync(SwitchOrder order, CancellationToken cancel) => switchover.SealAsync(order, cancel);
    public Task<SealResult> UnsealAsync(SwitchOrder order, CancellationToken cancel) => switchover.UnsealAsync(order, cancel);
    public Task<ReachResult> ReachAsync(ReachOrder order, CancellationToken cancel) => switchover.ReachAsync(order, cancel);
}
