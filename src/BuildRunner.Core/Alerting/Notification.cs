using System.Text.Json.Serialization;

namespace BuildRunner.Core.Alerting;

/// <summary>What a channel is asked to tell, once for its key.</summary>
public sealed record Notification
{
    public const int TextMax = 4000;

    /// <summary>Idempotency key: the same for every attempt, so that a channel that has delivered it before does nothing.</summary>
    public required string Key { get; init; }
    public required AlertSeverity Severity { get; init; }
    public required string Title { get; init; }
    public required string Text { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>What has happened: `opened`, `worsened`, `returned`, `resolved`, or `note` for a step of a runbook.</summary>
    public required string What { get; init; }
    public string? Incident { get; init; }

    /// <summary>What the receiver groups by: the same for all notifications of one incident.</summary>
    public string? Group { get; init; }
    public string? Command { get; init; }
}

/// <summary>A notification on its way through one channel; kept until it is delivered or given up, and shown after.</summary>
public sealed record Delivery
{
    public int SchemaVersion { get; init; } = 1;
    public required Notification Notification { get; init; }

    /// <summary>Name of the channel in the policy.</summary>
    public required string Channel { get; init; }
    public DeliveryState State { get; init; }
    public int Attempts { get; init; }

    /// <summary>Not before then.</summary>
    public required DateTimeOffset NextAt { get; init; }
    public DateTimeOffset? EndedAt { get; init; }

    /// <summary>What went wrong at the last attempt.</summary>
    public string? Error { get; init; }
}

/// <summary>Where a delivery stands.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<DeliveryState>))]
public enum DeliveryState
{
    Pending,
    Sent,

    /// <summary>Given up.</summary>
    Failed,
}

/// <summary>How an attempt ended.</summary>
public abstract record ChannelOutcome
{
    private ChannelOutcome() { }

    /// <summary>It is told, now or before under the same key.</summary>
    public sealed record Sent : ChannelOutcome;

    /// <summary><paramref name="Permanent"/>: no repeat will help. The error names what failed, and no secret.</summary>
    public sealed record Failed(string Error, bool Permanent = false) : ChannelOutcome;
}

/// <summary>What becomes of a delivery after an attempt: repeated with growing pauses, and given up after a stated number.</summary>
public static class DeliveryDecision
{
    public const int AttemptsMax = 10;
    public static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(2);
    public static readonly TimeSpan PauseMax = TimeSpan.FromMinutes(5);

    public static Delivery After(Delivery delivery, ChannelOutcome outcome, DateTimeOffset now)
    {
        var attempts = delivery.Attempts + 1;
        return outcome switch
        {
            _ when delivery.State != DeliveryState.Pending => delivery,
            ChannelOutcome.Sent => delivery with { State = DeliveryState.Sent, Attempts = attempts, EndedAt = now, Error = null },
            ChannelOutcome.Failed failed when failed.Permanent || attempts >= AttemptsMax =>
                delivery with { State = DeliveryState.Failed, Attempts = attempts, EndedAt = now, Error = Texts.Line(failed.Error, 500) },
            ChannelOutcome.Failed failed => delivery with { Attempts = attempts, NextAt = now + Pause(attempts), Error = Texts.Line(failed.Error, 500) },
            _ => throw new InvalidOperationException("An attempt ended in no known way."),
        };
    }

    /// <summary>2 s, 4 s, 8 s, … 5 min.</summary>
    public static TimeSpan Pause(int attempts) =>
        attempts >= 30 ? PauseMax : TimeSpan.FromTicks(Math.Min(PauseMax.Ticks, FirstPause.Ticks << Math.Max(0, attempts - 1)));
}
