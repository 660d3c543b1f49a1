using System.Text;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Alerting;

/// <summary>What a post-mortem is written from. Null is unknown, and is written as unknown: never as nothing.</summary>
public sealed record PostMortemFacts
{
    public required Incident Incident { get; init; }
    public required IReadOnlyList<TimelineEntry> Timeline { get; init; }
    public IReadOnlyList<PostMortemRun> Runs { get; init; } = [];
    public IReadOnlyList<Delivery> Deliveries { get; init; } = [];
}

/// <summary>What a run did to the incident, and what it measured.</summary>
public sealed record PostMortemRun
{
    public required string Id { get; init; }
    public required string Runbook { get; init; }

    /// <summary>`succeeded`, `failed`, …</summary>
    public required string State { get; init; }
    public required string Actor { get; init; }
    public double? DurationMs { get; init; }
    public double? OutageMs { get; init; }

    /// <summary>Users' requests that failed meanwhile, as far as the run's report counts them.</summary>
    public long? RequestsFailed { get; init; }
    public long? LostCommits { get; init; }
    public long? LostBytes { get; init; }

    /// <summary>Steps that did not go well, and the report's warnings, one clause each.</summary>
    public IReadOnlyList<string> Troubles { get; init; } = [];
}

/// <summary>The document after an incident, in Markdown: what is known is filled in, the rest is a place to write.</summary>
public static class PostMortem
{
    private const string Unknown = "unknown";
    private const int TroublesMax = 20;

    public static string Write(PostMortemFacts facts, DateTimeOffset now)
    {
        var incident = facts.Incident;
        var text = new StringBuilder();
        Line(text, $"# Post-mortem: {Plain(incident.Title)}");
        Line(text, "");
        Line(text, $"{incident.Id}, {AlertDecision.Word(incident.Severity)}, {Word(incident.State)}. Written {Time(now)}.{(incident.Ended ? "" : " **The incident is not over: this is a draft.**")}");
        Summary(text, incident);
        Impact(text, facts);
        Times(text, facts);
        Timeline(text, facts.Timeline);
        Lessons(text, facts);
        Actions(text, incident, DateOnly.FromDateTime(now.UtcDateTime));
        return text.ToString();
    }

    /// <summary>`acknowledged`.</summary>
    public static string Word(IncidentState state) => state.ToString().ToLowerInvariant();

    private static void Summary(StringBuilder text, Incident incident)
    {
        Heading(text, "Summary");
        Line(text, $"{Plain(incident.Title)}. {Plain(incident.Details)}".TrimEnd());
        Line(text, "");
        Line(text, $"- Opened by {(incident.Alert is { } alert ? $"the alert `{alert}`" : $"the run `{incident.Run}`")}.");
        Line(text, $"- Regions: {Names(incident.Regions)}. Services: {Names(incident.Services)}.");
        Line(text, "- Cause: _to be written_.");
    }

    private static void Impact(StringBuilder text, PostMortemFacts facts)
    {
        Heading(text, "Impact");
        Line(text, $"- Requests that failed: {Sum(facts.Runs.Select(r => r.RequestsFailed))}.");
        Line(text, $"- Writes stood still for: {(facts.Runs.Select(r => r.OutageMs).OfType<double>().DefaultIfEmpty(-1).Max() is var ms and >= 0 ? Took(ms) : Unknown)}.");
        Line(text, $"- Commits lost: {Sum(facts.Runs.Select(r => r.LostCommits))}; bytes of WAL: {Sum(facts.Runs.Select(r => r.LostBytes))}.");
        foreach (var run in facts.Runs)
            Line(text, $"- Run `{run.Id}` by {Plain(run.Actor)}: {run.State}{(run.DurationMs is { } took ? $" after {Took(took)}" : "")}; outage {(run.OutageMs is { } outage ? Took(outage) : Unknown)}.");
    }

    private static void Times(StringBuilder text, PostMortemFacts facts)
    {
        var incident = facts.Incident;
        Heading(text, "Times");
        Line(text, "| | when | after opening |");
        Line(text, "|---|---|---|");
        Line(text, $"| Trouble began | {Unknown} | |");
        Row("Detected (opened)", incident.OpenedAt);
        Row("Acknowledged", incident.AcknowledgedAt);
        Row("Mitigated", incident.MitigatedAt);
        Row("Resolved", incident.ResolvedAt);

        void Row(string what, DateTimeOffset? at) =>
            Line(text, at is { } time ? $"| {what} | {Time(time)} | {Words.Of(time - incident.OpenedAt)} |" : $"| {what} | not yet | |");
    }

    private static void Timeline(StringBuilder text, IReadOnlyList<TimelineEntry> timeline)
    {
        Heading(text, "Timeline");
        Line(text, "| time (UTC) | who | what |");
        Line(text, "|---|---|---|");
        foreach (var line in timeline)
            Line(text, $"| {line.At.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture)} | {Plain(line.Actor)} | {Plain(line.Text)} |");
    }

    private static void Lessons(StringBuilder text, PostMortemFacts facts)
    {
        var incident = facts.Incident;
        Heading(text, "What helped");
        if (incident.Alert is not null)
            Line(text, "- It was noticed by an alert, not by a user.");
        foreach (var run in facts.Runs.Where(r => r.State == "succeeded"))
            Line(text, $"- Run `{run.Id}` ({Plain(run.Runbook)}) ended well{(run.DurationMs is { } took ? $" after {Took(took)}" : "")}.");
        Line(text, "- _to be written_");
        Heading(text, "What hindered");
        if (incident.AcknowledgedAt is null)
            Line(text, "- Nobody acknowledged it.");
        foreach (var run in facts.Runs.Where(r => r.State is not ("succeeded" or "running")))
            Line(text, $"- Run `{run.Id}` ({Plain(run.Runbook)}) ended {run.State}.");
        foreach (var trouble in facts.Runs.SelectMany(r => r.Troubles).Distinct(StringComparer.Ordinal).Take(TroublesMax))
            Line(text, $"- {Plain(trouble)}");
        foreach (var failed in facts.Deliveries.Where(d => d.State == DeliveryState.Failed).DistinctBy(d => (d.Channel, d.Error)).Take(TroublesMax))
            Line(text, $"- Channel {Plain(failed.Channel)} was not reached: {Plain(failed.Error ?? Unknown)}");
        Line(text, "- _to be written_");
    }

    private static void Actions(StringBuilder text, Incident incident, DateOnly today)
    {
        Heading(text, "Actions");
        Line(text, "| # | action | owner | due | state |");
        Line(text, "|---|---|---|---|---|");
        foreach (var action in incident.Actions)
            Line(text, string.Create(CultureInfo.InvariantCulture, $"| {action.Number} | {Plain(action.Text)} | {Plain(action.Owner)} | {action.Due:yyyy-MM-dd} | {(action.DoneAt is not null ? "done" : action.Overdue(today) ? "**overdue**" : "open")} |"));
        if (incident.Actions.Count == 0)
            Line(text, "| | _to be written_ | | | |");
        Line(text, "");
        Line(text, $"Add one with `br incident action add {incident.Id} --owner NAME --due YYYY-MM-DD \"TEXT\"`.");
    }

    /// <summary>The sum of what is known; unknown when a part is, for a sum of known parts would read as the whole.</summary>
    private static string Sum(IEnumerable<long?> parts)
    {
        var all = parts.ToList();
        return all.Count == 0 || all.Exists(part => part is null) ? Unknown : all.Sum(part => part!.Value).ToString(CultureInfo.InvariantCulture);
    }

    private static string Took(double ms) => ms < 1000
        ? string.Create(CultureInfo.InvariantCulture, $"{ms:0} ms")
        : ms < 90_000 ? string.Create(CultureInfo.InvariantCulture, $"{ms / 1000:0.0} s") : Words.Of(TimeSpan.FromMilliseconds(ms));

    private static string Time(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture) + " UTC";

    private static string Names(IReadOnlyList<string> names) => names.Count == 0 ? Unknown : string.Join(", ", names.Select(Plain));

    /// <summary>Foreign text that cannot become a heading, a link, a picture or code.</summary>
    private static string Plain(string text)
    {
        var plain = new StringBuilder(text.Length);
        foreach (var c in Texts.Line(text, TimelineEntry.TextMax))
        {
            if (c is '\\' or '`' or '*' or '_' or '[' or ']' or '<' or '>' or '#' or '!' or '|')
                plain.Append('\\');
            plain.Append(c);
        }
        return plain.ToString();
    }

    private static void Heading(StringBuilder text, string heading) => text.Append("\n## ").Append(heading).Append("\n\n");

    private static void Line(StringBuilder text, string line) => text.Append(line).Append('\n');
}
