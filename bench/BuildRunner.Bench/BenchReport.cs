using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace BuildRunner.Bench;

/// <summary>Everything that was measured, as JSON and as a page of text.</summary>
internal sealed record BenchReport
{
    private const int FailuresShown = 3;

    public int SchemaVersion { get; init; } = 1;
    public required DateTimeOffset At { get; init; }
    public required IReadOnlyDictionary<string, string> Versions { get; init; }
    public double WriterIntervalMs { get; init; } = Measurement.Interval.TotalMilliseconds;
    public required IReadOnlyList<BenchResult> Results { get; init; }

    /// <summary>False: interrupted, or something could not be measured.</summary>
    public required bool Complete { get; init; }

    public string ToJson() => JsonSerializer.Serialize(this, BenchJson.Default.BenchReport);

    public string ToText()
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"One write every {WriterIntervalMs:0} ms, none waits for another. Outage: the longest time without an acknowledged write. {At:yyyy-MM-dd HH:mm} UTC.");
        foreach (var (name, version) in Versions)
            text.AppendLine(CultureInfo.InvariantCulture, $"  {name,-12} {version}");
        foreach (var group in Results.GroupBy(result => (result.System, result.Settings)))
            text.AppendLine(CultureInfo.InvariantCulture, $"  {group.Key.System}, {group.Key.Settings}: {string.Join(", ", group.First().SettingsInForce.Select(s => $"{s.Key} {s.Value}"))}");
        text.AppendLine();
        Table(text, ["system", "settings", "case", "runs", "outage median", "worst", "failed writes", "longest write", "acked and lost", "told"], Results.Select(Row));
        text.AppendLine().AppendLine("Every run: outage (writes that failed; acknowledged and lost)");
        foreach (var result in Results)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"  {result.System}, {result.Settings}, {result.Case}: {string.Join(", ", result.Runs.Select(run => $"{Time(run.OutageMs)} ({run.Failed}; {run.Lost?.ToString(CultureInfo.InvariantCulture) ?? "unknown"}{(run.Trouble is null ? "" : "; did not move")})"))}");
            foreach (var why in result.Runs.SelectMany(run => run.Failures).GroupBy(f => f.Key).OrderByDescending(g => g.Sum(f => f.Value)).Take(FailuresShown))
                text.AppendLine(CultureInfo.InvariantCulture, $"    {why.Sum(f => f.Value)} x {why.Key}");
            foreach (var trouble in result.Runs.Select(run => run.Trouble).OfType<string>().Distinct())
                text.AppendLine(CultureInfo.InvariantCulture, $"    {trouble.ReplaceLineEndings(" ")}");
        }
        if (!Complete)
            text.AppendLine().AppendLine("Not complete.");
        return text.ToString();
    }

    private static string[] Row(BenchResult result) =>
    [
        result.System,
        result.Settings,
        result.Case,
        result.Runs.Count(run => run.Trouble is not null) is var not and > 0 ? $"{result.Runs.Count} ({not} did not move)" : $"{result.Runs.Count}",
        Time(result.OutageMedianMs),
        Time(result.OutageWorstMs),
        Range(result.Runs.Select(run => run.Failed)),
        Time(result.LongestMs),
        result.Runs.Any(run => run.Lost is null) ? "unknown" : Range(result.Runs.Select(run => run.Lost!.Value)),
        Told(result),
    ];

    private static string Told(BenchResult result) => result.Runs.All(run => run.Lost == 0 && run.Told is null)
        ? ""
        : string.Join(", ", result.Runs.Select(run => run.Told ?? (run.Lost > 0 ? "nothing" : "")).Where(told => told.Length > 0).Distinct());

    private static string Range(IEnumerable<int> values) => (values.Min(), values.Max()) is var (least, most) && least == most ? $"{most}" : $"{least}-{most}";

    private static string Time(double? milliseconds) => milliseconds switch
    {
        null => "unknown",
        < 10_000 => string.Create(CultureInfo.InvariantCulture, $"{milliseconds / 1000:0.00} s"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{milliseconds / 1000:0.0} s"),
    };

    private static void Table(StringBuilder text, string[] head, IEnumerable<string[]> rows)
    {
        string[][] all = [head, .. rows];
        var widths = Enumerable.Range(0, head.Length).Select(column => all.Max(row => row[column].Length)).ToArray();
        void Line(string[] row) => text.AppendLine(string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
        Line(head);
        Line([.. widths.Select(width => new string('-', width))]);
        foreach (var row in all[1..])
            Line(row);
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(BenchReport))]
internal sealed partial class BenchJson : JsonSerializerContext;
