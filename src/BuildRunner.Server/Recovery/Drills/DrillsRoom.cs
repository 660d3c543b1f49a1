using System.Security.Claims;
using System.Text.Json;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>The part of the room that tries recovery for real, and says what that proves.</summary>
internal static class DrillsRoom
{
    /// <summary>A drill that is done for real is confirmed anew at least once a year.</summary>
    private static readonly TimeSpan ArmedMax = TimeSpan.FromDays(366);

    /// <param name="services">The services.</param>
    /// <param name="dataFolder">The server's folder, in which the key for evidence lies.</param>
    public static IServiceCollection AddDrills(this IServiceCollection services, string dataFolder)
    {
        services.AddSingleton<DrillStateReader>();
        services.AddSingleton(all => new DrillScenarios(all.GetService<PolicyOptions>()));
        services.AddRunbook<FailoverDrill>();
        services.AddRunbook<ScenarioDrill>();
        services.AddRunbook<PracticeDrill>();
        services.AddRunbookAction<DrillBeginAction>();
        services.AddRunbookAction<FaultInjectAction>();
        services.AddRunbookAction<FaultLiftAction>();
        services.AddRunbookAction<DrillRecoveredAction>();
        services.AddRunbookAction<DrillEnduredAction>();
        services.AddRunbookAction<DrillRejoinedAction>();
        services.AddRunbookAction<DrillCompareAction>();
        services.AddReadinessSource<DrillAge>();
        services.AddSingleton<DrillCalendarBook>();
        services.AddSingleton<DrillGround>();
        services.AddSingleton<DrillHouse>();
        services.AddSingleton<DrillCalendarLoop>().AddHostedService(all => all.GetRequiredService<DrillCalendarLoop>());
        services.AddSingleton(new EvidenceKey(dataFolder));
        services.AddSingleton<EvidenceReader>();
        return services;
    }

    public static void MapDrills(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/dr/drills", async (RunRecords runs, DrillCalendarBook book, CancellationToken cancel) =>
        {
            IReadOnlyList<DrillRecord> drills = [.. (await ListAsync(runs, cancel)).Concat(await book.EvaluationsAsync(cancel)).OrderByDescending(d => d.StartedAt)];
            return TypedResults.Json(new DrillsAnswer { Drills = drills, Trends = DrillTrend.Of(drills) }, DrillsJson.Default.DrillsAnswer);
        }).RequireAuthorization("viewer");
        routes.MapGet("/v1/dr/scenarios", (DrillScenarios scenarios) =>
        {
            var (found, bad) = scenarios.List();
            return TypedResults.Json(new ScenariosAnswer
            {
                Scenarios = [.. found.Select(s => new ScenarioSummary(s.Name, s.Title, s.Expect, [.. s.Faults.Select(f => f.ToString())], s.Reviewed))],
                Bad = bad,
            }, DrillsJson.Default.ScenariosAnswer);
        }).RequireAuthorization("viewer");
        routes.MapGet("/v1/dr/drills/schedule", async (DrillGround ground, DrillCalendarBook book, TimeProvider time, CancellationToken cancel) =>
            TypedResults.Json(await ScheduleAsync(ground, book, time.GetUtcNow(), cancel), DrillsJson.Default.ScheduleAnswer)).RequireAuthorization("viewer");
        routes.MapPost("/v1/dr/drills/arm", ArmAsync).RequireAuthorization("admin");
        routes.MapGet("/v1/dr/evidence", EvidenceAsync).RequireAuthorization("viewer");
        routes.MapGet("/v1/dr/evidence/key", (EvidenceKey key) => TypedResults.Json(new EvidenceKeyAnswer { Key = key.Public() }, DrillsJson.Default.EvidenceKeyAnswer)).RequireAuthorization("viewer");
    }

    /// <summary>Drills done for real, newest first.</summary>
    public static async Task<IReadOnlyList<DrillRecord>> ListAsync(RunRecords runs, CancellationToken cancel) =>
        [.. (await runs.ListAsync(cancel)).Where(r => r.FinishedAt is not null && DrillPlanner.IsDrill(r.Runbook)).Select(Read).OfType<DrillRecord>()];

    /// <summary>Null: it ended before it could say anything.</summary>
    public static DrillRecord? Read(RunRecord run) =>
        run.Report is { } report && JsonSerializer.Deserialize(report, DrillsJson.Default.DrillRecord) is { } drill ? drill with { EndedAt = run.FinishedAt } : null;

    private static async Task<ScheduleAnswer> ScheduleAsync(DrillGround ground, DrillCalendarBook book, DateTimeOffset now, CancellationToken cancel)
    {
        var facts = await ground.ReadAsync(now, cancel);
        var rows = new List<ScheduleRow>();
        foreach (var slot in facts.Slots)
        {
            var armed = await book.ArmedAsync(slot.Kind, now, cancel);
            rows.Add(new ScheduleRow(slot.Kind, slot.Cron, slot.Next, armed is not null, armed?.Until, armed?.By, await book.GetAsync(slot.Kind, cancel), slot.NotYet));
        }
        return new ScheduleAnswer { Schedule = rows, WhyNotNow = DrillCalendar.WhyNot(facts) };
    }

    private static async Task<IResult> ArmAsync(HttpContext http, DrillCalendarLoop calendar, DrillGround ground, DrillCalendarBook book, IPolicySource policy, IEventLog events, TimeProvider time, ClaimsPrincipal user, CancellationToken cancel)
    {
        var (now, actor) = (time.GetUtcNow(), user.Identity?.Name ?? "unknown");
        ArmOrder? order;
        try { order = await JsonSerializer.DeserializeAsync(http.Request.Body, DrillsJson.Default.ArmOrder, cancel); }
        catch (JsonException) { order = null; }
        if (order is null)
            return Problems.Invalid("drills.bad-request", "The body does not say which kind of drill is armed.");
        var kinds = DrillCalendarBook.Kinds(policy.Current.Drills).ToList();
        var kind = kinds.Find(k => k.Kind == order.Kind);
        if (kind.Kind is null)
            return Problems.Invalid("drills.no-such-kind", $"There is no drill of the kind '{order.Kind}'.", $"Kinds: {string.Join(", ", kinds.Select(k => k.Kind))}.");
        if (!order.Off && kind.NotYet is { } notYet)
            return Problems.Invalid("drills.not-yet", $"A drill of the kind {order.Kind} cannot be armed: {notYet}.", "Arm it when that is there.");
        if (!order.Off && order.Until is { } until && (until <= now || until - now > ArmedMax))
            return Problems.Invalid("drills.bad-until", $"It would be armed until {until:yyyy-MM-dd HH:mm} UTC.", "Name a time within a year from now.");
        if (order.Off)
            await book.DisarmAsync(order.Kind, cancel);
        else
            await book.ArmAsync(new DrillArming { Kind = order.Kind, By = actor, At = now, Until = order.Until?.ToUniversalTime() }, cancel);
        await events.RecordAsync(order.Off ? "drill.disarmed" : "drill.armed", actor, order.Off
            ? $"{order.Kind} drills are evaluated only."
            : $"{order.Kind} drills are done for real when they are due{(order.Until is { } end ? $", until {end:yyyy-MM-dd HH:mm} UTC" : "")}.", null, cancel);
        calendar.Wake();
        return TypedResults.Json(await ScheduleAsync(ground, book, now, cancel), DrillsJson.Default.ScheduleAnswer);
    }

    private static async Task<IResult> EvidenceAsync(EvidenceReader reader, EvidenceKey key, ClaimsPrincipal user, DateTimeOffset from, DateTimeOffset to, CancellationToken cancel)
    {
        if (to <= from)
            return Problems.Invalid("evidence.bad-period", $"The period ends ({to:yyyy-MM-dd HH:mm}) before it begins ({from:yyyy-MM-dd HH:mm}).", "Give --from the earlier time.");
        var evidence = await reader.ReadAsync(from.ToUniversalTime(), to.ToUniversalTime(), user.Identity?.Name ?? "unknown", cancel);
        return Results.Bytes(EvidenceFile.Write(evidence, key.Sign(EvidenceFile.Text(evidence))), "application/json");
    }
}

/// <summary>How long ago recovery was last tried for real, how that went, and which kinds are overdue.</summary>
internal sealed class DrillAge(RunRecords runs, DrillCalendarBook book, TimeProvider time) : IReadinessSource
{
    public string Name => "drills";

    public async Task<IReadOnlyList<ReadinessFinding>> ReadAsync(CancellationToken cancel)
    {
        var now = time.GetUtcNow();
        var drills = await DrillsRoom.ListAsync(runs, cancel);
        return [.. (await book.SlotsAsync(now, cancel)).Where(s => s.NotYet is null).Select(slot => DrillReadiness.Judge(slot, drills, now)).OfType<ReadinessFinding>()];
    }
}
