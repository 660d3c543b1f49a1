using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Alerting.Channels;

/// <summary>The channels of the policy in force, each made by the driver of its type.</summary>
internal sealed class ChannelSet(IEnumerable<INotificationDriver> drivers, IPolicySource policy)
{
    private readonly Dictionary<string, INotificationDriver> _drivers = drivers.ToDictionary(driver => driver.Type, StringComparer.Ordinal);

    /// <summary>Every channel that the policy has or names, and the log.</summary>
    public IReadOnlyList<ChannelDefinition> All
    {
        get
        {
            var current = policy.Current;
            return
            [
                .. current.Channels.Select(channel => channel.Name).Concat(current.Alerts.SelectMany(rule => rule.Channels)).Append(AlertRouting.Log)
                    .Distinct(StringComparer.Ordinal).Select(name => AlertRouting.Definition(current, name)),
            ];
        }
    }

    public INotificationChannel? Find(string name) =>
        AlertRouting.Definition(policy.Current, name) is var definition && Problem(definition) is null ? _drivers[definition.Type].Open(definition) : null;

    /// <summary>Why nothing can go through a channel; null: nothing stands against it.</summary>
    public string? Problem(string name) => Problem(AlertRouting.Definition(policy.Current, name));

    public string? Problem(ChannelDefinition definition) => _drivers.ContainsKey(definition.Type)
        ? null
        : $"The channel '{definition.Name}' is of type '{definition.Type}', for which this version has no driver; there are {string.Join(", ", _drivers.Keys.Order(StringComparer.Ordinal))}.";
}
