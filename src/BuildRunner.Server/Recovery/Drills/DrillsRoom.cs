using System.Text.Json;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Runbooks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>The part of the room that tries recovery for real.</summary>
internal static class DrillsRoom
{
    public static IServiceCollection AddDrills(this IServiceCollection services)
    {
        services.AddSingleton<DrillStateReader>();
        services.AddSingleton(all => new DrillScenarios(all.GetService<Policy.PolicyOptions>()));
        services.AddRunbook<FailoverDrill>();
        services.AddRunbook<ScenarioDrill>();
        services.AddRunbookAction<DrillBeginAction>();
        services.AddRunbookAction<FaultInjectAction>();
        services.AddRunbookAction<FaultLiftAction>();
        services.AddRunbookAction<DrillRecoveredAction>();
        services.AddRunbookAction<DrillEnduredAction>();
        services.AddRunbookAction<DrillRejoinedAction>();
        services.AddRunbookAction<DrillCompareAction>();
        services.AddReadinessSource<DrillAge>();
        return services;
    }

    public static void MapDrills(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/dr/drills", async (RunRecords runs, CancellationToken cancel) =>
            TypedResults.Json(new DrillsAnswer { Drills = await ListAsync(runs, cancel) }, DrillsJson.Default.DrillsAnswer)).RequireAuthorization("viewer");
        routes.MapGet("/v1/dr/scenarios", (DrillScenarios scenarios) =>
        {
            var (found, bad) = scenarios.List();
            return TypedResults.Json(new ScenariosAnswer
            {
                Scenarios = [.. found.Select(s => new ScenarioSummary(s.Name, s.Title, s.Expect, [.. s.Faults.Select(f => f.ToString())], s.Reviewed))],
                Bad = bad,
            }, DrillsJson.Default.ScenariosAnswer);
        }).RequireAuthorization("viewer");
    }

    /// <summary>Newest first.</summary>
    public static async Task<IReadOnlyList<DrillRecord>> ListAsync(RunRecords runs, CancellationToken cancel) =>
        [.. (await runs.ListAsync(cancel)).Where(r => r.FinishedAt is not null && DrillSource.IsDrill(r.Runbook)).Select(Read).OfType<DrillRecord>()];

    /// <summary>Null: it ended before it could say anything.</summary>
    public static DrillRecord? Read(RunRecord run) =>
        run.Report is { } report && JsonSerializer.Deserialize(report, DrillsJson.Default.DrillRecord) is { } drill ? drill with { EndedAt = run.FinishedAt } : null;
}

/// <summary>How long ago recovery was last tried for real, and how that went.</summary>
internal sealed class DrillAge(RunRecords runs, TimeProvider time) : IReadinessSource
{
    /// <summary>SPEC's drills are weekly; one that was missed is no news yet, two are.</summary>
    private static readonly TimeSpan AgeMax = TimeSpan.FromDays(14);

    public string Name => "drills";

    public async Task<IReadOnlyList<ReadinessFinding>> ReadAsync(CancellationToken cancel) =>
        DrillReadiness.Judge((await DrillsRoom.ListAsync(runs, cancel)).FirstOrDefault(d => d.Outcome != "aborted" || d.AbortedBy == DrillRecord.OutageMax), time.GetUtcNow(), AgeMax) is { } finding ? [finding] : [];
}
