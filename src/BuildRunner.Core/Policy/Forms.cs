using System.Text;

namespace BuildRunner.Core.Policy;

/// <summary>The forms that values of a policy take.</summary>
internal static class Forms
{
    public static readonly ScalarForm<bool> Switch = new("true or false",
        text => text switch
        {
            "true" or "True" or "TRUE" => new(true),
            "false" or "False" or "FALSE" => new(false),
            _ => Judged<bool>.Error($"'{PolicyReading.Quote(text)}' is neither true nor false.", text.ToLowerInvariant() is "yes" or "on" or "1" ? "Write true." : text.ToLowerInvariant() is "no" or "off" or "0" ? "Write false." : "Write true or false."),
        },
        value => value ? "true" : "false");

    public static readonly ScalarForm<string> Cron = new("cron, UTC", text => Clean(text, 100), value => value, (text, reading) => reading.CronWrong(text),
        "Write minute, hour, day of month, month and day of week: every day at two is \"0 2 * * *\".");
    public static readonly ScalarForm<string> Text = new("text", text => Clean(text, 500), value => value);

    /// <summary>A name of a region, service, database or channel: it becomes part of paths, keys and cookies.</summary>
    public static readonly ScalarForm<string> Name = new("name", text => NameWrong(text) is { } wrong ? Judged<string>.Error(wrong, "Use letters, digits, - and _.") : new(text), value => value);

    public static readonly ScalarForm<string> Path = new("path",
        text => text.StartsWith('/') && !text.Contains("//", StringComparison.Ordinal) && !text.Any(c => char.IsWhiteSpace(c) || c is '?' or '#') ? Clean(text, 500)
            : Judged<string>.Error($"'{PolicyReading.Quote(text)}' is no path.", "Write it from the root, without a query: /healthz."),
        value => value);

    public static readonly ScalarForm<string> Url = new("http address",
        text => Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https" && uri is { UserInfo: "", Query: "", Fragment: "", Host.Length: > 0 } && text.All(c => c is > ' ' and < '\x7f')
            ? new(text.TrimEnd('/'))
            : Judged<string>.Error($"'{PolicyReading.Quote(text)}' is no http address.", "Write scheme, host and port: http://10.0.0.1:8080."),
        value => value);

    public static readonly ScalarForm<string> Host = new("host",
        text => Uri.CheckHostName(text) != UriHostNameType.Unknown ? new(text)
            : Judged<string>.Error($"'{PolicyReading.Quote(text)}' is no host name or address.", "Write an address (10.0.0.1) or a host name, without a port."),
        value => value);

    public static readonly ScalarForm<string> Listen = new("host:port",
        text => text.LastIndexOf(':') is > 0 and var cut && Uri.CheckHostName(text[..cut]) != UriHostNameType.Unknown && int.TryParse(text[(cut + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and < 65536
            ? new(text)
            : Judged<string>.Error($"'{PolicyReading.Quote(text)}' is no address to listen on.", "Write host and port: 127.0.0.1:8453."),
        value => value);

    /// <summary>A name server: a host, and a port where it is not 53.</summary>
    public static readonly ScalarForm<string> Server = new("host or host:port",
        text => ServerAddress.TryParse(text, out _) ? new(text)
            : Judged<string>.Error($"'{PolicyReading.Quote(text)}' is no address of a server.", "Write a host, with a port where it is not 53: 10.0.0.53, ns1.example.org:5353 or [2001:db8::1]:53."),
        value => value);

    /// <summary>A reference to a secret; the secret itself is refused and not repeated.</summary>
    public static readonly ScalarForm<string> Secret = new("env:NAME or file:PATH",
        text => Secrets.Wrong("", text, isSecret: true) is { } wrong ? Judged<string>.Error(wrong, "Write `env:NAME` or `file:PATH`. A secret that stood in a policy has been seen: change it.") : new(text),
        value => value);

    public static readonly ScalarForm<string> Network = new("network",
        text => System.Net.IPNetwork.TryParse(text, out _) || System.Net.IPAddress.TryParse(text, out _)
            ? new(text)
            : Judged<string>.Error($"'{PolicyReading.Quote(text)}' is no network.", "Write it as 10.0.0.0/8."),
        value => value);

    public static ScalarForm<TimeSpan> Duration(TimeSpan min, TimeSpan max) => new("duration",
        text => Units.Duration(text) is { Wrong: null } read ? Within(read.Value, min, max, Units.Write, text) : Units.Duration(text), Units.Write);

    /// <summary>A key that names its unit (`rpo_minutes`) takes a bare number of it.</summary>
    public static ScalarForm<TimeSpan> Bare(TimeSpan unit, string unitName, TimeSpan min, TimeSpan max) => new($"number of {unitName}",
        text => Units.Number(text) is { Wrong: null } read
            ? Within(read.Value, (decimal)(min / unit), (decimal)(max / unit), Units.Plain, text) is { Wrong: { } wrong } far ? Judged<TimeSpan>.Error(wrong, far.Fix) : new(new TimeSpan((long)decimal.Round(read.Value * unit.Ticks)))
            : Judged<TimeSpan>.Error(Units.Number(text).Wrong!, Units.Number(text).Fix),
        value => Units.Plain((decimal)value.Ticks / unit.Ticks));

    /// <summary>`70%` as the number 70.</summary>
    public static ScalarForm<double> Percent(decimal min, decimal max) => new("percent",
        text => Units.Percent(text) is { Wrong: null } read ? Double(Within(read.Value, min, max, v => Units.Plain(v) + "%", text), 1) : Double(Units.Percent(text), 1),
        value => Units.Plain((decimal)value) + "%");

    /// <summary>`1.0%` as the fraction 0.01.</summary>
    public static ScalarForm<double> Share(decimal min, decimal max) => new("percent",
        text => Units.Percent(text) is { Wrong: null } read ? Double(Within(read.Value, min, max, v => Units.Plain(v) + "%", text), 100) : Double(Units.Percent(text), 100),
        value => Units.Plain((decimal)value * 100) + "%");

    /// <summary>A key that says percent itself (`error_budget_pct`) takes a bare number; the value is the fraction.</summary>
    public static ScalarForm<double> BareShare(decimal min, decimal max) => new("number, in percent",
        text => Units.Number(text) is { Wrong: null } read ? Double(Within(read.Value, min, max, Units.Plain, text), 100) : Double(Units.Number(text), 100),
        value => Units.Plain((decimal)value * 100));

    public static ScalarForm<double> Number(decimal min, decimal max) => new("number",
        text => Units.Number(text) is { Wrong: null } read ? Double(Within(read.Value, min, max, Units.Plain, text), 1) : Double(Units.Number(text), 1),
        value => Units.Plain((decimal)value));

    public static ScalarForm<int> Count(int min, int max) => new("whole number",
        text => Units.Number(text) switch
        {
            { Wrong: { } wrong, Fix: var fix } => Judged<int>.Error(wrong, fix),
            { Value: var value } when value != decimal.Truncate(value) => Judged<int>.Error($"'{PolicyReading.Quote(text)}' is no whole number.", $"Write {Units.Plain(decimal.Round(value))}."),
            { Value: var value } => Within(value, min, max, Units.Plain, text) is { Wrong: { } wrong, Fix: var fix } ? Judged<int>.Error(wrong, fix) : new((int)value),
        },
        value => value.ToString(CultureInfo.InvariantCulture));

    public static ScalarForm<long> Size(long min, long max) => new("size",
        text => Units.Size(text) is { Wrong: null } read ? Within(read.Value, min, max, Units.WriteSize, text) : Units.Size(text), Units.WriteSize);

    public static ScalarForm<string> Word(params string[] words) => new(string.Join(", ", words),
        text => words.Contains(text, StringComparer.Ordinal) ? new(text) : Judged<string>.Error($"'{PolicyReading.Quote(text)}' is not known here.", Nearest.Fix(text, words)),
        value => value);

    public static ScalarForm<T> Word<T>()
        where T : struct, Enum
    {
        var words = Enum.GetValues<T>().ToDictionary(v => Snake(v.ToString()), v => v);
        return new(string.Join(", ", words.Keys),
            text => words.TryGetValue(text, out var value) ? new(value) : Judged<T>.Error($"'{PolicyReading.Quote(text)}' is not known here.", Nearest.Fix(text, words.Keys)),
            value => Snake(value.ToString()));
    }

    public static OptionalForm<T> Optional<T>(PolicyForm<T> form)
        where T : struct => new(form);

    public static ListForm<string> Names => new(Name, "list of names");

    public static string? NameWrong(string name) => name.Length is > 0 and <= 63 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_') && char.IsAsciiLetterOrDigit(name[0])
        ? null
        : $"'{PolicyReading.Quote(name)}' is no name: 1 to 63 letters, digits, - and _.";

    public static string? VariableNameWrong(string name) => name.Length is > 0 and <= 100 && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_') && !char.IsAsciiDigit(name[0])
        ? null
        : $"'{PolicyReading.Quote(name)}' is no name of an environment variable.";

    private static Judged<string> Clean(string text, int max) =>
        text.Length > max ? Judged<string>.Error($"{text.Length} characters are too many.", $"At most {max}.")
        : text.Any(c => char.IsControl(c) || char.IsSurrogate(c) || c is '\u2028' or '\u2029' or '\ufeff' or >= '\ufffe') ? Judged<string>.Error("It holds a character that does not belong in a text of one line.", "Remove control characters.")
        : text.Length == 0 ? Judged<string>.Error("It is empty.", "Write a text or remove the key.")
        : new(text);

    private static Judged<T> Within<T>(T value, T min, T max, Func<T, string> print, string text)
        where T : IComparable<T> =>
        value.CompareTo(min) < 0 || value.CompareTo(max) > 0
            ? Judged<T>.Error($"'{PolicyReading.Quote(text)}' is out of range.", $"Write a value from {print(min)} to {print(max)}.")
            : new(value);

    private static Judged<double> Double(Judged<decimal> read, decimal per) =>
        read.Wrong is { } wrong ? Judged<double>.Error(wrong, read.Fix) : new((double)(decimal.Round(read.Value, 6) / per));

    private static string Snake(string name)
    {
        var text = new StringBuilder();
        foreach (var c in name)
        {
            if (char.IsAsciiLetterUpper(c) && text.Length > 0)
                text.Append('_');
            text.Append(char.ToLowerInvariant(c));
        }
        return text.ToString();
    }
}
