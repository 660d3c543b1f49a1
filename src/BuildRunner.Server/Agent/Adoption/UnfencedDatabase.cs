using System.ComponentModel;
using System.Text.Json;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent.Adoption;

/// <summary>
/// A PostgreSQL that is not under a guard yet: it is looked at, and nothing is ordered of it. Least of all a fence: who started it may start it again, so
/// that its end would prove nothing.
/// </summary>
internal sealed class UnfencedDatabase(AgentOptions options, AssignmentBook book, AdoptionWork adoption, DatabaseKeeper keeper, UnfencedLoop readings) : IDatabaseDriver
{
    /// <summary>Never null: who knows of no reading might take it that the guard will give a proof.</summary>
    public DatabaseReading? Last => readings.Last ?? new DatabaseReading { Database = book.Current?.Database?.Name ?? "main", State = DatabaseState.Unfenced, Detail = $"the PostgreSQL in {adoption.Folder} is being looked at" };

    /// <summary>An adoption that was cut short asks like any start of a primary.</summary>
    public string? StartAsk => keeper.StartAsk;

    public Task<FenceResult> FenceAsync(FenceOrder order, CancellationToken cancel) => throw Refused("fenced");
    public Task<CutResult> CutAsync(CutOrder order, CancellationToken cancel) => throw Refused("cut off");
    public Task<CutResult> UncutAsync(CutOrder order, CancellationToken cancel) => throw Refused("set to follow");
    public Task<CutResult> CatchUpAsync(CatchUpOrder order, CancellationToken cancel) => throw Refused("told to catch up");
    public Task<PromoteResult> PromoteAsync(PromoteOrder order, CancellationToken cancel) => throw Refused("promoted");
    public Task<PromoteResult> RestartAsync(PromoteOrder order, CancellationToken cancel) => throw Refused("started");
    public Task<InspectResult> InspectAsync(SwitchOrder order, CancellationToken cancel) => throw Refused("moved");
    public Task<PrepareResult> PrepareAsync(SwitchOrder order, CancellationToken cancel) => throw Refused("moved");
    public Task<SealResult> SealAsync(SwitchOrder order, CancellationToken cancel) => throw Refused("sealed");
    public Task<SealResult> UnsealAsync(SwitchOrder order, CancellationToken cancel) => throw Refused("unsealed");
    public Task<ReachResult> ReachAsync(ReachOrder order, CancellationToken cancel) => throw Refused("waited for");

    private OrderRefusedException Refused(string what) =>
        new($"The PostgreSQL in {adoption.Folder} runs without a guard, so that {options.Region} is unfenced: it cannot be {what} before it is adopted (`br dr adopt {options.Region}`).");
}

/// <summary>Looks at a PostgreSQL that is to be adopted, a few times a minute.</summary>
internal sealed class UnfencedLoop(AgentOptions options, AssignmentBook book, AgentStateFile state, AdoptionWork adoption, DatabaseKeeper keeper, AdoptionReader reader, TimeProvider time, ILogger<UnfencedLoop> logger)
    : ReconcileLoop(TimeSpan.FromSeconds(5), time, logger)
{
    private DatabaseReading? _last;

    /// <summary>Null: nothing is to be adopted, or it has not been looked at yet.</summary>
    public DatabaseReading? Last => Volatile.Read(ref _last);

    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        if (!adoption.IsPending || book.Current?.Database is not { Patroni: null } assignment)
        {
            Volatile.Write(ref _last, null);
            return;
        }
        var reading = new DatabaseReading { Database = assignment.Name, State = DatabaseState.Unfenced, SeenEpoch = state.Current.SeenEpoch };
        if (state.Current.Adoption is { Done: false })
        {
            Volatile.Write(ref _last, reading with { Detail = keeper.Detail ?? "it is being adopted" });
            return;
        }
        try
        {
            var found = await reader.ReadAsync(adoption.Folder!, assignment, cancel);
            var said = found.Said;
            reading = reading with
            {
                AcceptsConnections = true,
                SystemIdentifier = said.System,
                ServerVersion = said.Version,
                Timeline = said.Timeline,
                Written = said.InRecovery ? null : said.At,
                Replayed = said.InRecovery ? said.At : null,
                DataChecksums = said.Checksums,
                SyncNames = said.SyncNames,
                Detail = $"PostgreSQL {said.Version} in {found.Folder} runs as a {(said.InRecovery ? "standby" : "primary")} without a guard; `br dr adopt {options.Region}` restarts it once under one",
            };
        }
        catch (Exception error) when (error is InvalidOperationException or IOException or UnauthorizedAccessException or Win32Exception or JsonException)
        {
            reading = reading with { Detail = ErrorClause.Of(error) };
        }
        Volatile.Write(ref _last, reading);
    }
}

/// <summary>The orders of an adoption.</summary>
internal sealed class AdoptionDesk(AdoptionWork adoption, DatabaseKeeper keeper, UnfencedLoop readings)
{
    public Task<AdoptSurvey> SurveyAsync(AdoptOrder order, CancellationToken cancel) => adoption.SurveyAsync(cancel);

    public async Task<AdoptResult> AdoptAsync(AdoptOrder order, CancellationToken cancel)
    {
        try { return await keeper.ExclusiveAsync(DatabaseState.Starting, token => adoption.TakeAsync(order, token), cancel); }
        finally { readings.Wake(); }
    }
}
