using BuildRunner.Core.Runbooks;

namespace BuildRunner.Core.Recovery;

/// <summary>The runbook `failover`: SPEC's six steps, each made of the moves that FAILOVER.md orders.</summary>
public static class FailoverRunbook
{
    public const string Name = "failover";
    public const string Stop = "Stop traffic to primary region";
    public const string Promote = "Promote standby to primary";
    public const string Dns = "Update DNS records";
    public const string Warm = "Warm caches in new region";
    public const string Verify = "Verify application health";
    public const string Resume = "Resume traffic";

    /// <summary>Runbooks that move a database's primary and end with the same report.</summary>
    public static bool Moves(string runbook) => runbook is Name or SwitchoverRunbook.Name or "failback";

    private const string Stuck = "The epoch is given to ${target}, and nobody else may write until it is proven silent. When ${target} is well, take it up with `br dr failover --target ${target} --reason …`; when it is lost, name another region there.";

    public static Runbook Document { get; } = new()
    {
        Name = Name,
        Title = "Move a database's primary to another region after the loss of its own",
        Reviewed = new DateOnly(2026, 11, 23),
        Inputs =
        [
            new("target", "region that becomes the primary; the best one when not given"),
            new("database", "database to move", Default: "main"),
            new("accept_data_loss", "true: go ahead over loss_max or with an unknown loss", Default: "false"),
            new("assume_fenced", "how you know that the old primary is off; stands for a proof, and is audited"),
            new("known_loss_ms", "filled in when the run is admitted: known lag of the target", Default: ""),
            new("primary_written", "filled in when the run is admitted: last position that the primary reported", Default: ""),
        ],
        Steps =
        [
            Step("close", Stop, "close the epoch", "failover.close", 5),
            Step("hold", Stop, "hold writes at the gateways", "failover.hold", 5),
            Step("fence", Stop, "prove the old primary silent", "failover.fence", 30),
            Step("select", Promote, "bring the copies to their end, judge the loss", "failover.select", 30),
            Step("move", Promote, "give the epoch to the target", "failover.move", 5) with { PointOfNoReturn = true, Undo = false, Retries = 2, RetryDelay = TimeSpan.FromMilliseconds(200), IfStuck = Stuck },
            Step("promote", Promote, "promote the copy", "failover.promote", 30) with { PointOfNoReturn = true, Undo = false, Retries = 5, RetryDelay = TimeSpan.FromMilliseconds(200), IfStuck = Stuck },
            Step("open", Promote, "open the epoch", "failover.open", 5) with { PointOfNoReturn = true, Undo = false, Retries = 5, RetryDelay = TimeSpan.FromMilliseconds(200), IfStuck = Stuck },
            Step("dns", Dns, "send the new answers", "failover.dns", 2) with { OnFailure = OnFailure.Continue },
            Step("warm", Warm, "warm the application", "failover.warm", 2) with { OnFailure = OnFailure.Continue },
            Step("verify", Verify, "write and read through every gateway", "failover.verify", 8) with { OnFailure = OnFailure.ContinueAndFail },
            Step("resume", Resume, "let held writes go", "failover.resume", 5) with { Retries = 5, RetryDelay = TimeSpan.FromMilliseconds(200), IfStuck = "Writes are still held at a gateway: it ends the hold by its own clock within 10 s. Look at `br regions health --all`." },
            Step("settle-dns", Dns, "every name server answers the new addresses", "failover.settle-dns", 10) with { OnFailure = OnFailure.Continue, AfterResume = true },
            Step("settle-followers", Resume, "the other copies follow the new primary", "failover.settle-followers", 15) with { OnFailure = OnFailure.Continue, AfterResume = true },
        ],
    };

    private static RunbookStep Step(string id, string title, string summary, string action, int seconds) => new()
    {
        Id = id,
        Title = title,
        Summary = summary,
        Action = action,
        Timeout = TimeSpan.FromSeconds(seconds),
        With = new Dictionary<string, string> { ["database"] = "${database}", ["target"] = "${target}" },
    };
}
