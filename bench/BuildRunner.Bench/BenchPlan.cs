namespace BuildRunner.Bench;

/// <summary>What is measured, in which order: the peer first, each system once per set of settings.</summary>
internal static class BenchPlan
{
    public const string Peer = "Patroni";
    public const string Ours = "BuildRunner";

    private static readonly RecoveryCase[] Planned = [RecoveryCase.Switchover, RecoveryCase.SwitchoverLoad];
    private static readonly RecoveryCase[] Lost = [RecoveryCase.HostLoss, RecoveryCase.Stalled];

    private static readonly (string System, string Settings, RecoveryCase[] Cases)[] All =
    [
        (Peer, "defaults", [.. Planned, .. Lost]),
        (Peer, "minimum", [.. Planned, .. Lost]),
        (Ours, "defaults", Planned),
        (Ours, "auto-failover", Lost),
        (Ours, "auto-failover-5s", Lost),
    ];

    public static IReadOnlyList<string> Settings { get; } = [.. All.Select(group => group.Settings).Distinct()];

    /// <summary>Name of a case on the command line and in the results.</summary>
    public static string NameOf(RecoveryCase what) => what switch
    {
        RecoveryCase.Switchover => "switchover",
        RecoveryCase.SwitchoverLoad => "switchover-load",
        RecoveryCase.HostLoss => "host-loss",
        _ => "stalled",
    };

    /// <summary>Empty filters let everything through; null runs means each case's own number.</summary>
    public static IReadOnlyList<BenchGroup> Make(string? only, IReadOnlyCollection<string> cases, IReadOnlyCollection<string> settings, int? runs) =>
    [
        .. All
            .Where(group => only is null || (only == "peer") == (group.System == Peer))
            .Where(group => settings.Count == 0 || settings.Contains(group.Settings))
            .Select(group => new BenchGroup(group.System, group.Settings, [.. group.Cases.Where(c => cases.Count == 0 || cases.Contains(NameOf(c))).Select(c => (c, runs ?? Usual(c)))]))
            .Where(group => group.Cases.Count > 0),
    ];

    private static int Usual(RecoveryCase what) => what switch
    {
        RecoveryCase.Switchover or RecoveryCase.SwitchoverLoad => 10,
        RecoveryCase.HostLoss => 5,
        _ => 3,
    };
}
