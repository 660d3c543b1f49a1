using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;

namespace BuildRunner.Server.Alerting.Channels;

/// <summary>A way to tell people. Every driver is held to one contract: `tests/BuildRunner.Tests/Contracts/ChannelContract.cs`.</summary>
internal interface INotificationChannel
{
    /// <summary>The channel's name in the policy.</summary>
    string Name { get; }

    /// <summary>
    /// Tells once for the notification's key, however often it is called. What failed is said in the outcome, with its name and without any secret;
    /// only cancellation is thrown. Called for one notification after the other.
    /// </summary>
    Task<ChannelOutcome> SendAsync(Notification notification, CancellationToken cancel);
}

/// <summary>Makes channels of one type of the policy.</summary>
internal interface INotificationDriver
{
    /// <summary>`log`, `file`, ….</summary>
    string Type { get; }

    /// <summary>Cheap: asked for every delivery, so that a changed policy counts at once. What must outlive one delivery stays in the driver.</summary>
    INotificationChannel Open(ChannelDefinition definition);
}
