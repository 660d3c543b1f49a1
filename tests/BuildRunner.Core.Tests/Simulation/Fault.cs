namespace BuildRunner.Core.Tests.Simulation;

internal enum FaultKind
{
    RefuseRegion,
    SilenceRegion,
    SilenceIntoRegion,
    SilenceOutOfRegion,
    SilenceLink,
    SilenceLinkOneWay,
    FreezeAgent,
    FreezeGuard,
    FreezeAgentAndGuard,
    FreezePostmaster,
    FreezeRegion,
    FreezeGateway,
    FreezeServer,
    KillRegion,
    KillAgent,
    KillGuard,
    KillPostgres,
    RestartServer,

    /// <summary>A person orders a failover to the region, whatever is so.</summary>
    Order,
}

/// <summary>What breaks, when and for how long, in virtual time.</summary>
/// <param name="Region">0 to 2; 3 is the server.</param>
/// <param name="Other">Far end of a link.</param>
internal readonly record struct Fault(TimeSpan At, TimeSpan For, FaultKind Kind, int Region, int Other)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{At.TotalSeconds:0.000} s +{For.TotalSeconds:0.000} s {Kind} {Region}{(Kind is FaultKind.SilenceLink or FaultKind.SilenceLinkOneWay ? $"-{Other}" : "")}");
}
