namespace BuildRunner.Client.Hosting;

/// <summary>Orders to an agent that run a command of the policy's list.</summary>
public static class ExecOrders
{
    /// <summary><see cref="ExecOrder"/> → <see cref="ExecResult"/>: run it once under the order's id; the agent remembers a good end on disk.</summary>
    public const string Run = "exec.run";

    /// <summary>Most of the output that is kept, in characters; the end of it.</summary>
    public const int OutputMax = 4000;
}

/// <param name="Name">Its name in the policy's `commands`.</param>
/// <param name="Command">The program and its arguments, as the policy has them.</param>
/// <param name="TimeoutMs">After so long it is killed with all that it started.</param>
/// <param name="Key">Given to it as BR_IDEMPOTENCY_KEY: the same after a crash.</param>
public sealed record ExecOrder(string Name, IReadOnlyList<string> Command, int TimeoutMs, string Key);

/// <summary>How it ended, and the end of what it wrote.</summary>
public sealed record ExecResult(int ExitCode, double Milliseconds, string Output);
