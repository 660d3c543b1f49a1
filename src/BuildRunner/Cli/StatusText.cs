using BuildRunner.Client.Regions;
using BuildRunner.Core.Regions;

namespace BuildRunner.Cli;

/// <summary>The status as text. Written by hand and not with a console library: bare `br` must answer before anybody notices that it started.</summary>
internal static class StatusText
{
    public static void Write(TextWriter writer, StatusAnswer status, string? away, bool colour)
    {
        var ink = new Ink(colour);
        if (away is not null)
            writer.WriteLine(ink.Of("33", $"! {away}"));
        writer.WriteLine($"{ink.Of(ColourOf(status.Health), Mark(status.Health))} {ink.Of("1", status.Sentence)}");
        foreach (var problem in status.Problems)
            writer.WriteLine($"  {ink.Of(ColourOf(problem.Health), Mark(problem.Health))} {problem.Region,-12} {Words.Of(problem.Health),-9} {Since(problem.Since, status.At),-14} {problem.What}");
        foreach (var run in status.Runs)
            writer.WriteLine($"  {ink.Of("36", "▶")} {run.Title}: {run.State} since {run.Since.ToLocalTime().ToString("HH:mm:ss", CultureInfo.InvariantCulture)} ({run.Id})");
        foreach (var note in status.Notes)
            writer.WriteLine($"  {ink.Of("33", "!")} {note}");
        if (status.Next is { } next)
            writer.WriteLine($"  Next: {ink.Of("36", next)}");
    }

    /// <summary>Shape says it too, so that colour is never needed.</summary>
    public static string Mark(HealthState health) => health switch
    {
        HealthState.Healthy => "●",
        HealthState.Degraded => "◐",
        HealthState.Draining => "◌",
        HealthState.Unhealthy => "✖",
        _ => "?",
    };

    public static string ColourOf(HealthState health) => health switch
    {
        HealthState.Healthy => "32",
        HealthState.Degraded => "33",
        HealthState.Draining => "36",
        HealthState.Unhealthy => "31",
        _ => "35",
    };

    public static string Since(DateTimeOffset? since, DateTimeOffset now) => since is { } at ? $"for {Words.Of(now - at)}" : "";

    private readonly struct Ink(bool on)
    {
        public string Of(string code, string text) => on ? $"\u001b[{code}m{text}\u001b[0m" : text;
    }
}
