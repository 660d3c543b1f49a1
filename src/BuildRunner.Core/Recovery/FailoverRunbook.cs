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
}
