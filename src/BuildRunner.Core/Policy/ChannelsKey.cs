using System.Text.RegularExpressions;

namespace BuildRunner.Core.Policy;

/// <summary>`channels`: each type has its own settings, and a secret among them is only ever a reference.</summary>
internal sealed record ChannelsKey() : PolicyKey<PolicyDocument>("channels", "Who can be told, by name.", Required: false)
{
    private const string Section = "channels";

    private static readonly Dictionary<string, Setting[]> Types = new(StringComparer.Ordinal)
    {
        ["log"] = [],
        ["file"] = [new("path", Required: true)],
        ["slack"] = [new("webhook", Secret: true, Required: true), new("channel")],
        ["email"] = [new("host", Required: true), new("port"), new("user"), new("password", Secret: true), new("from", Required: true), new("to", Required: true)],
        ["pagerduty"] = [new("routing_key", Secret: true, Required: true)],
        ["phone"] = [new("routing_key", Secret: true), new("url"), new("to")],
        ["webhook"] = [new("url", Required: true), new("secret", Secret: true)],
    };

    /// <summary>Channel names that mean a type when the policy has no section `channels`.</summary>
    public static IReadOnlyCollection<string> TypeNames => Types.Keys;

    public override PolicyDocument Read(PolicyDocument owner, PolicyEntry entry, PolicyPath path, PolicyReading reading)
    {
        var section = path.Child(Section);
        reading.Place(section, entry.At);
        if (entry.Value is PolicyNode.Scalar { IsNothing: true })
            return owner;
        if (entry.Value is not PolicyNode.Mapping mapping)
        {
            reading.Wrong(entry.Value.At, section, $"Names with their settings belong here, not a {PolicyReading.KindOf(entry.Value)}.", "Write `NAME:` and its settings indented below.");
            return owner;
        }
        var channels = new List<ChannelDefinition>();
        foreach (var one in mapping.Entries.Take(200))
        {
            var at = section.Child(one.Key);
            reading.Place(at, one.At);
            if (Forms.NameWrong(one.Key) is { } wrong)
                reading.Wrong(one.At, at, wrong, "Choose another name.");
            else if (ReadOne(one, at, reading) is { } channel)
                channels.Add(channel);
        }
        return owner with { Channels = channels };
    }

    private static ChannelDefinition? ReadOne(PolicyEntry one, PolicyPath path, PolicyReading reading)
    {
        if (one.Value is not PolicyNode.Mapping settings)
        {
            reading.Wrong(one.Value.At, path, "A channel has a `type` and its settings.", $"Write `type:` indented below; types are {string.Join(", ", Types.Keys)}.");
            return null;
        }
        var typeEntry = settings.Entries.FirstOrDefault(e => e.Key == "type");
        string? type = null;
        if (typeEntry is null)
        {
            reading.Wrong(one.At, path.Child("type"), "`type` is missing.", $"Write one of {string.Join(", ", Types.Keys)}.");
        }
        else if (Forms.Word([.. Types.Keys]).TryRead(typeEntry.Value, path.Child("type"), reading, out type))
        {
            reading.Set(path.Child("type"), typeEntry.At, new PolicyNode.Scalar(type));
        }
        var known = type is null ? null : Types[type];
        var values = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var setting in settings.Entries.Where(e => e.Key != "type"))
        {
            var at = path.Child(setting.Key);
            reading.Place(at, setting.At);
            var rule = known?.FirstOrDefault(s => s.Name == setting.Key);
            if (setting.Value is PolicyNode.Scalar scalar && Secrets.Wrong(setting.Key, scalar.Text, rule?.Secret ?? false) is { } secret)
                reading.Wrong(setting.At, at, secret, Secrets.Fix(one.Key, setting.Key));
            else if (known is not null && rule is null)
                reading.Wrong(setting.At, at, $"`{PolicyReading.Quote(setting.Key)}` is not known for a channel of type {type}.", Nearest.Fix(setting.Key, ["type", .. known.Select(s => s.Name)]));
            else if (Forms.Text.TryRead(setting.Value, at, reading, out var value) && reading.Set(at, setting.At, setting.Value))
                values[setting.Key] = value;
        }
        foreach (var missing in known?.Where(s => s.Required && !settings.Entries.Any(e => e.Key == s.Name)) ?? [])
            reading.Wrong(one.At, path.Child(missing.Name), $"`{missing.Name}` is missing.", missing.Secret ? $"Write `{missing.Name}: env:NAME` or `{missing.Name}: file:PATH`." : $"Write it under `{path.Written}`.");
        return type is null ? null : new(one.Key, type, values);
    }

    public override IEnumerable<PolicyEntry> Write(PolicyDocument owner)
    {
        if (owner.Channels.Count == 0)
            yield break;
        yield return new(Section, default, new PolicyNode.Mapping([.. owner.Channels.Select(c => new PolicyEntry(c.Name, default, new PolicyNode.Mapping(
            [new("type", default, new PolicyNode.Scalar(c.Type)), .. c.Settings.Select(s => new PolicyEntry(s.Key, default, new PolicyNode.Scalar(s.Value)))])))]));
    }

    public override IEnumerable<PolicyKeyRow> Describe(string prefix, PolicyDocument seed)
    {
        yield return new($"{prefix}{Section}", "section", "", Summary, false);
        yield return new($"{prefix}{Section}.NAME.type", string.Join(", ", Types.Keys), "", "How it tells.", true);
        foreach (var (type, settings) in Types)
        {
            foreach (var setting in settings)
                yield return new($"{prefix}{Section}.NAME.{setting.Name}", setting.Secret ? "env:NAME or file:PATH" : "text", "", $"Of type `{type}`.", setting.Required);
        }
    }

    private sealed record Setting(string Name, bool Secret = false, bool Required = false);
}

/// <summary>Tells a secret from a reference to one.</summary>
internal static partial class Secrets
{
    /// <summary>What is wrong with a value, without quoting it; null: it is a reference, or no secret.</summary>
    public static string? Wrong(string key, string value, bool isSecret)
    {
        if (IsReference(value))
            return null;
        if (value.StartsWith("env:", StringComparison.Ordinal) || value.StartsWith("file:", StringComparison.Ordinal))
            return isSecret ? "The reference to the secret names nothing." : null;
        return isSecret || SecretName().IsMatch(key) || SecretValue().IsMatch(value)
            ? "A secret stands here in plain text (not repeated here)."
            : null;
    }

    public static string Fix(string owner, string key) =>
        $"Put it into a file or a variable, write `file:PATH` or `env:{Variable(owner)}_{Variable(key)}`, and change the secret: it has been seen.";

    private static bool IsReference(string value) =>
        value.StartsWith("env:", StringComparison.Ordinal) ? Forms.VariableNameWrong(value[4..]) is null
        : value.StartsWith("file:", StringComparison.Ordinal) && value.Length > 5;

    private static string Variable(string text) => new([.. text.ToUpperInvariant().Where(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-').Select(c => c == '-' ? '_' : c)]);

    [GeneratedRegex("(?i)(password|passwd|secret|token|api_?key|routing_?key|access_?key|private_?key|webhook|credential)", RegexOptions.CultureInvariant)]
    private static partial Regex SecretName();

    [GeneratedRegex(@"(?i)hooks\.slack\.com/|/services/T[A-Z0-9]+/|^xox[a-z]-|^gh[pousr]_|^AKIA[0-9A-Z]{12,}|^eyJ[A-Za-z0-9_-]{10,}\.|-----BEGIN|^[a-z][a-z0-9+.-]*://[^/@\s]+:[^/@\s]+@|[?&](token|key|secret|password|sig)=|^(?=.*[0-9])(?=.*[a-z])[a-z0-9+/_=-]{32,}$", RegexOptions.CultureInvariant)]
    private static partial Regex SecretValue();
}
