namespace BuildRunner.Cli;

/// <summary>What every command's exit status means.</summary>
public enum ExitCode
{
    Fine = 0,
    Failed = 1,

    /// <summary>Wrong use or bad configuration.</summary>
    Usage = 2,
    ServerUnreachable = 3,

    /// <summary>Unhealthy, or refused by a safety check.</summary>
    Refused = 4,
    NotPermitted = 5,
    TimedOut = 6,
    ThresholdCrossed = 99,
    BadScript = 104,
    LoadTestInterrupted = 105,
    Interrupted = 130,
}
