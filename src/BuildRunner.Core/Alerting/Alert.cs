using System.Text.Json.Serialization;

namespace BuildRunner.Core.Alerting;

/// <summary>
/// Trouble that a room has found. The key stays the same for the same trouble, so that it is one incident however often it is raised:
/// `kind/thing`, where the kind is the name of the policy's alert when it has one (`region_failure/us-east-1`).
/// </summary>
public sealed record Alert(string Key, AlertSeverity Severity, string Title, string Details, string? Command = null)
{
    public const int KeyMax = 200;
    public const int TitleMax = 200;
    public const int DetailsMax = 4000;

    public string Key { get; } = KeyWrong(Key) is { } wrong ? throw new ArgumentException(wrong, nameof(Key)) : Key;

    /// <summary>What is wrong, in a few words of one line.</summary>
    public string Title { get; } = Texts.Line(Title, TitleMax);

    /// <summary>What is known, and what to do.</summary>
    public string Details { get; } = Texts.Cut(Details, DetailsMax);

    /// <summary>A command to paste; null: none is known that helps.</summary>
    public string? Command { get; } = Command is null ? null : Texts.Line(Command, 1000);

    public IReadOnlyList<string> Regions { get; init; } = [];
    public IReadOnlyList<string> Services { get; init; } = [];

    /// <summary>The part of a key before its first slash.</summary>
    public static string KindOf(string key) => key.IndexOf('/', StringComparison.Ordinal) is var slash and > 0 ? key[..slash] : key;

    /// <summary>The part of a key after its first slash; empty when there is none.</summary>
    public static string ThingOf(string key) => key.IndexOf('/', StringComparison.Ordinal) is var slash and > 0 ? key[(slash + 1)..] : "";

    /// <summary>What is wrong with a key; null: nothing.</summary>
    public static string? KeyWrong(string key) =>
        key.Length is > 0 and <= KeyMax && key.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '/') && !key.StartsWith('/')
            ? null
            : $"'{Texts.Line(key, 60)}' is no key of an alert: 1 to {KeyMax} letters, digits, and - _ . / inside.";
}

/// <summary>How bad it is: critical wakes a person, a warning waits until morning, info is only kept.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<AlertSeverity>))]
public enum AlertSeverity
{
    Info,
    Warning,
    Critical,
}
