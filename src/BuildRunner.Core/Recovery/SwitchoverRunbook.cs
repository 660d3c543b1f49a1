using BuildRunner.Core.Runbooks;

namespace BuildRunner.Core.Recovery;

/// <summary>The runbook `switchover`: the same six steps for a primary that is well; what can be warmed is warmed before anybody waits. Held writes complete, and everything before the promotion can be taken back.</summary>
public static class SwitchoverRunbook
{
    public const string Name = "switchover";

    public static Runbook Document { get; } = Of(Name, "Move a database's primary to another region while both are well");

    /// <summary>The same move, back to a region that was lost and has rejoined.</summary>
    public static Runbook Failback { get; } = Of("failback", "Move a database's primary back to a region that has rejoined");

    private const string Stuck = "The epoch is given to ${target}. When ${target} is well, take it up with `br dr failover --target ${target} --reason …`; when it is lost, name another region there.";

    private static Runbook Of(string name, string title) => new()
    {
        Name = name,
        Title = title,
        Reviewed = new DateOnly(2026, 11, 27),
        Inputs =
        [
            new("target", "region that becomes the primary; the best copy when not given"),
            new("database", "database to move", Default: "main"),
            new("cut_long_transactions", "true: transactions older than 300 ms are ended; false: they make the move refuse", Default: "false"),
        ],
        Steps =
        [
            Step("prepare", FailoverRunbook.Warm, "look at both databases, checkpoint both", "switchover.prepare", 600),
            Step("warm", FailoverRunbook.Warm, "warm the application beforehand", "failover.warm", 2) with { OnFailure = OnFailure.Continue },
            Step("hold", FailoverRunbook.Stop, "hold writes at the gateways, let those under way end", "switchover.hold", 5),
            Step("close", FailoverRunbook.Stop, "close the epoch", "failover.close", 5),
            Step("seal", FailoverRunbook.Stop, "let no commit be answered any more", "switchover.seal", 5),
            Step("catch-up", FailoverRunbook.Stop, "the copy replays everything acknowledged", "switchover.catch-up", 8),
            Step("fence", FailoverRunbook.Stop, "stop the old primary, proven by its guard", "failover.fence", 30, ("proof", "stopped")),
            Step("move", FailoverRunbook.Promote, "give the epoch to the target", "failover.move", 5) with { PointOfNoReturn = true, Undo = false, Retries = 2, RetryDelay = TimeSpan.FromMilliseconds(200), IfStuck = Stuck },
            Step("promote", FailoverRunbook.Promote, "promote the copy", "failover.promote", 30) with { PointOfNoReturn = true, Undo = false, Retries = 5, RetryDelay = TimeSpan.FromMilliseconds(200), IfStuck = Stuck },
            Step("open", FailoverRunbook.Promote, "open the epoch", "failover.open", 5) with { PointOfNoReturn = true, Undo = false, Retries = 5, RetryDelay = TimeSpan.FromMilliseconds(200), IfStuck = Stuck },
            Step("dns", FailoverRunbook.Dns, "send the new answers", "failover.dns", 2) with { OnFailure = OnFailure.Continue },
            Step("verify", FailoverRunbook.Verify, "write and read through every gateway", "failover.verify", 8) with { OnFailure = OnFailure.ContinueAndFail },
            Step("resume", FailoverRunbook.Resume, "let held writes go", "failover.resume", 5) with { Retries = 5, RetryDelay = TimeSpan.FromMilliseconds(200), IfStuck = "Writes are still held at a gateway: it ends the hold by its own clock within 10 s. Look at `br regions health --all`." },
            Step("settle-dns", FailoverRunbook.Dns, "every name server answers the new addresses", "failover.settle-dns", 10) with { OnFailure = OnFailure.Continue, AfterResume = true },
            Step("settle-followers", FailoverRunbook.Resume, "every copy, the old primary too, follows the new one", "switchover.settle", 60) with { OnFailure = OnFailure.Continue, AfterResume = true },
        ],
    };

    private static RunbookStep Step(string id, string title, string summary, string action, int seconds, params (string Name, string Value)[] more) => new()
    {
        Id = id,
        Title = title,
        Summary = summary,
        Action = action,
        Timeout = TimeSpan.FromSeconds(seconds),
        With = new Dictionary<string, string>(more.Select(m => KeyValuePair.Create(m.Name, m.Value))) { ["database"] = "${database}", ["target"] = "${target}" },
    };
}
