using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Alerting;

/// <summary>Who is told of an alert, by the policy.</summary>
public static class AlertRouting
{
    /// <summary>The channel that always is.</summary>
    public const string Log = "log";

    /// <summary>
    /// The channels of the policy's alert that bears the key's kind; else those of its alerts of the same severity; else the log.
    /// What is only information goes to the log.
    /// </summary>
    public static IReadOnlyList<string> Channels(PolicyDocument policy, string key, AlertSeverity severity)
    {
        var named = policy.Alerts.FirstOrDefault(rule => rule.Name == Alert.KindOf(key))?.Channels;
        var alike = severity == AlertSeverity.Info ? [] : policy.Alerts.Where(rule => rule.Severity == AlertDecision.Word(severity)).SelectMany(rule => rule.Channels);
        IReadOnlyList<string> found = [.. (named ?? alike).Distinct(StringComparer.Ordinal)];
        return found.Count > 0 ? found : [Log];
    }

    /// <summary>A channel's settings; a name of the policy that is no entry of `channels` is the type of that name, without settings.</summary>
    public static ChannelDefinition Definition(PolicyDocument policy, string name) =>
        policy.Channels.FirstOrDefault(channel => channel.Name == name) ?? new ChannelDefinition(name, name, new Dictionary<string, string>());
}
