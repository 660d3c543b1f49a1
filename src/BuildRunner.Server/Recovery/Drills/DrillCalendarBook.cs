using System.Text.Json;
using BuildRunner.Client.Recovery;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Storage;
using Cronos;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>The calendar as the policy and the store have it: when each kind is due, which are armed, what was done, and what evaluations said.</summary>
internal sealed class DrillCalendarBook(IStore store, IPolicySource policy)
{
    public const string CalendarPrefix = "drills/calendar/";
    public const string ArmedPrefix = "drills/armed/";
    public const string EvaluatedPrefix = "drills/evaluated/";

    /// <summary>Evaluations kept; the oldest go.</summary>
    private const int EvaluationsMax = 200;

    /// <summary>A crontab is not followed further back.</summary>
    private static readonly TimeSpan BackMax = TimeSpan.FromDays(400);

    private const string WithBackups = "it restores from backups, and comes with the issue Backups";

    public async Task<IReadOnlyList<DrillSlot>> SlotsAsync(DateTimeOffset now, CancellationToken cancel)
    {
        var slots = new List<DrillSlot>();
        foreach (var (kind, cron, notYet) in Kinds(policy.Current.Drills))
        {
            var record = await GetAsync(kind, cancel);
            var armed = await ArmedAsync(kind, now, cancel);
            var expression = CronExpression.Parse(cron, CronFormat.Standard);
            var from = record?.Due ?? record?.Since ?? now;
            if (now - from > BackMax)
                from = now - BackMax;
            var next = expression.GetNextOccurrence(now.UtcDateTime);
            var after = next is { } first ? expression.GetNextOccurrence(first) : null;
            slots.Add(new DrillSlot
            {
                Kind = kind,
                Cron = cron,
                Next = At(next),
                Due = from < now ? At(expression.GetOccurrences(from.UtcDateTime, now.UtcDateTime, fromInclusive: false, toInclusive: true).Cast<DateTime?>().LastOrDefault()) : null,
                Period = next is { } a && after is { } b ? b - a : TimeSpan.FromDays(7),
                Since = record?.Since ?? now,
                Armed = armed is not null,
                NotYet = notYet,
            });
        }
        return slots;

        static DateTimeOffset? At(DateTime? utc) => utc is { } time ? new DateTimeOffset(time, TimeSpan.Zero) : null;
    }

    public async Task<DrillCalendarRecord?> GetAsync(string kind, CancellationToken cancel) => await store.GetAsync(CalendarPrefix + kind, cancel) is { } entry
        ? JsonSerializer.Deserialize(entry.Value.Span, DrillsJson.Default.DrillCalendarRecord) ?? throw new JsonException($"{entry.Key} holds null.")
        : null;

    public Task<StoreWrite> PutAsync(DrillCalendarRecord record, Fence fence, CancellationToken cancel) =>
        store.PutAsync(CalendarPrefix + record.Kind, JsonSerializer.SerializeToUtf8Bytes(record, DrillsJson.Default.DrillCalendarRecord), null, fence, cancel);

    /// <summary>Null: it is not armed, or no longer.</summary>
    public async Task<DrillArming?> ArmedAsync(string kind, DateTimeOffset now, CancellationToken cancel) => await store.GetAsync(ArmedPrefix + kind, cancel) is { } entry
        && JsonSerializer.Deserialize(entry.Value.Span, DrillsJson.Default.DrillArming) is { } arming && (arming.Until is null || arming.Until > now) ? arming : null;

    public Task<StoreWrite> ArmAsync(DrillArming arming, CancellationToken cancel) =>
        store.PutAsync(ArmedPrefix + arming.Kind, JsonSerializer.SerializeToUtf8Bytes(arming, DrillsJson.Default.DrillArming), null, null, cancel);

    public Task<StoreWrite> DisarmAsync(string kind, CancellationToken cancel) => store.DeleteAsync(ArmedPrefix + kind, null, null, cancel);

    /// <summary>Newest first.</summary>
    public async Task<IReadOnlyList<DrillRecord>> EvaluationsAsync(CancellationToken cancel) =>
        [.. (await store.ListAsync(EvaluatedPrefix, cancel)).Select(e => JsonSerializer.Deserialize(e.Value.Span, DrillsJson.Default.DrillRecord)).OfType<DrillRecord>().OrderByDescending(d => d.StartedAt)];

    public async Task KeepAsync(DrillRecord evaluation, Fence fence, CancellationToken cancel)
    {
        await store.PutAsync($"{EvaluatedPrefix}{evaluation.Id}", JsonSerializer.SerializeToUtf8Bytes(evaluation, DrillsJson.Default.DrillRecord), null, fence, cancel);
        foreach (var old in (await EvaluationsAsync(cancel)).Skip(EvaluationsMax))
            await store.DeleteAsync($"{EvaluatedPrefix}{old.Id}", null, fence, cancel);
    }

    public static IEnumerable<(string Kind, string Cron, string? NotYet)> Kinds(DrillRules rules) =>
    [
        ("failover", rules.Weekly, null), ("scenario", rules.Monthly, null), ("data-recovery", rules.Quarterly, WithBackups), ("disaster", rules.Annually, WithBackups),
    ];
}
