namespace BuildRunner.Core.Recovery;

/// <summary>Names in the runbook `failover` (governance/runbooks/failover.yml): SPEC's six steps, each made of several moves.</summary>
public static class FailoverRunbook
{
    public const string Name = "failover";
    public const string Stop = "Stop traffic to primary region";
    public const string Promote = "Promote standby to primary";
    public const string Dns = "Update DNS records";
    public const string Warm = "Warm caches in new region";
    public const string Verify = "Verify application health";
    public const string Resume = "Resume traffic";

    /// <summary>The planned move, and the same move back to a region that was lost and has rejoined.</summary>
    public const string Switchover = "switchover";
    public const string Failback = "failback";

    /// <summary>Runbooks that move a database's primary and end with the same report.</summary>
    public static bool Moves(string runbook) => runbook is Name or Switchover or Failback;
}
