namespace BuildRunner.Core.Policy;

/// <summary>Values with units, as the policy and the command line write them: `400ms`, `30 days`, `1.0%`, `10MB`.</summary>
public static class Units
{
    private static readonly Dictionary<string, long> TicksPerUnit = new(StringComparer.OrdinalIgnoreCase)
    {
        ["us"] = TimeSpan.TicksPerMicrosecond,
        ["ms"] = TimeSpan.TicksPerMillisecond,
        ["millisecond"] = TimeSpan.TicksPerMillisecond,
        ["milliseconds"] = TimeSpan.TicksPerMillisecond,
        ["s"] = TimeSpan.TicksPerSecond,
        ["sec"] = TimeSpan.TicksPerSecond,
        ["second"] = TimeSpan.TicksPerSecond,
        ["seconds"] = TimeSpan.TicksPerSecond,
        ["m"] = TimeSpan.TicksPerMinute,
        ["min"] = TimeSpan.TicksPerMinute,
        ["minute"] = TimeSpan.TicksPerMinute,
        ["minutes"] = TimeSpan.TicksPerMinute,
        ["h"] = TimeSpan.TicksPerHour,
        ["hour"] = TimeSpan.TicksPerHour,
        ["hours"] = TimeSpan.TicksPerHour,
        ["d"] = TimeSpan.TicksPerDay,
        ["day"] = TimeSpan.TicksPerDay,
        ["days"] = TimeSpan.TicksPerDay,
        ["w"] = 7 * TimeSpan.TicksPerDay,
        ["week"] = 7 * TimeSpan.TicksPerDay,
        ["weeks"] = 7 * TimeSpan.TicksPerDay,
    };

    private static readonly Dictionary<string, long> BytesPerUnit = new(StringComparer.OrdinalIgnoreCase)
    {
        ["B"] = 1,
        ["kB"] = 1000,
        ["MB"] = 1000_000,
        ["GB"] = 1000_000_000,
        ["TB"] = 1000_000_000_000,
        ["KiB"] = 1L << 10,
        ["MiB"] = 1L << 20,
        ["GiB"] = 1L << 30,
        ["TiB"] = 1L << 40,
    };

    private const string DurationExample = "Write a number and its unit: 400ms, 10s, 5m, 2h or 30 days.";
    private const string SizeExample = "Write a number and its unit: 512KiB, 10MB or 1GiB.";

    /// <summary>Reads `400ms`, `1.5s`, `5m`, `2h`, `30 days`; what is wrong and the fix when it is none.</summary>
    public static bool TryDuration(string text, out TimeSpan value, out string wrong, out string fix)
    {
        var judged = Duration(text);
        (value, wrong, fix) = (judged.Value, judged.Wrong ?? "", judged.Fix);
        return judged.Wrong is null;
    }

    internal static Judged<TimeSpan> Duration(string text)
    {
        if (Split(text) is not var (number, unit))
            return Judged<TimeSpan>.Error($"'{PolicyReading.Quote(text)}' is no duration.", DurationExample);
        if (unit.Length == 0)
            return Judged<TimeSpan>.Error($"'{PolicyReading.Quote(text)}' has no unit.", $"Write {Plain(number)}ms, {Plain(number)}s or {Plain(number)}m, whichever is meant.");
        if (!TicksPerUnit.TryGetValue(unit, out var ticks))
            return Judged<TimeSpan>.Error($"'{PolicyReading.Quote(text)}' is no duration: '{PolicyReading.Quote(unit)}' is no unit of time.", DurationExample);
        return Math.Abs(number) > 36500m * TimeSpan.TicksPerDay / ticks
            ? Judged<TimeSpan>.Error($"'{PolicyReading.Quote(text)}' is longer than a hundred years.", DurationExample)
            : new(new TimeSpan((long)decimal.Round(number * ticks)));
    }

    internal static Judged<long> Size(string text)
    {
        if (Split(text) is not var (number, unit))
            return Judged<long>.Error($"'{PolicyReading.Quote(text)}' is no size.", SizeExample);
        if (unit.Length == 0)
            return Judged<long>.Error($"'{PolicyReading.Quote(text)}' has no unit.", $"Write {Plain(number)}KiB, {Plain(number)}MB or {Plain(number)}GiB, whichever is meant.");
        if (!BytesPerUnit.TryGetValue(unit, out var bytes))
            return Judged<long>.Error($"'{PolicyReading.Quote(text)}' is no size: '{PolicyReading.Quote(unit)}' is no unit of size.", SizeExample);
        return Math.Abs(number) > (decimal)(1L << 60) / bytes
            ? Judged<long>.Error($"'{PolicyReading.Quote(text)}' is too large.", SizeExample)
            : new((long)decimal.Round(number * bytes));
    }

    internal static Judged<decimal> Percent(string text)
    {
        if (Split(text.EndsWith('%') ? text[..^1] : text) is not (var number, ""))
            return Judged<decimal>.Error($"'{PolicyReading.Quote(text)}' is no percentage.", "Write a number and %: 1.0%.");
        return text.TrimEnd().EndsWith('%')
            ? new(number)
            : Judged<decimal>.Error($"'{PolicyReading.Quote(text)}' has no unit.", $"Write {Plain(number)}%.");
    }

    internal static Judged<decimal> Number(string text) =>
        Split(text) switch
        {
            null => Judged<decimal>.Error($"'{PolicyReading.Quote(text)}' is no number.", "Write digits, such as 15."),
            (var number, "") => new(number),
            var (number, unit) => Judged<decimal>.Error($"'{PolicyReading.Quote(text)}' is no plain number: the unit '{PolicyReading.Quote(unit)}' does not belong here.", $"Write {Plain(number)}; this key has no unit or names it itself."),
        };

    /// <summary>The shortest way to write a duration exactly.</summary>
    public static string Write(TimeSpan value)
    {
        foreach (var (unit, ticks) in new[] { ("d", TimeSpan.TicksPerDay), ("h", TimeSpan.TicksPerHour), ("m", TimeSpan.TicksPerMinute), ("s", TimeSpan.TicksPerSecond) })
        {
            if (value.Ticks != 0 && value.Ticks % ticks == 0)
                return (value.Ticks / ticks).ToString(CultureInfo.InvariantCulture) + unit;
        }
        return value.Ticks == 0 ? "0s" : Plain((decimal)value.Ticks / TimeSpan.TicksPerMillisecond) + "ms";
    }

    internal static string WriteSize(long bytes)
    {
        foreach (var unit in new[] { "TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "kB" })
        {
            if (bytes != 0 && bytes % BytesPerUnit[unit] == 0)
                return (bytes / BytesPerUnit[unit]).ToString(CultureInfo.InvariantCulture) + unit;
        }
        return bytes.ToString(CultureInfo.InvariantCulture) + "B";
    }

    internal static string Plain(decimal number) => number.ToString("0.############", CultureInfo.InvariantCulture);

    /// <summary>Number and unit; null when it does not begin with a number of at most 15 digits.</summary>
    private static (decimal Number, string Unit)? Split(string text)
    {
        text = text.Trim();
        var end = text.StartsWith('-') ? 1 : 0;
        while (end < text.Length && (char.IsAsciiDigit(text[end]) || text[end] == '.'))
            end++;
        return end is > 0 and <= 16 && char.IsAsciiDigit(text[end - 1])
            && decimal.TryParse(text[..end], NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
            ? (number, text[end..].Trim())
            : null;
    }
}
