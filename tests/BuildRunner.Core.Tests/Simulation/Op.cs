namespace BuildRunner.Core.Tests.Simulation;

/// <summary>What can happen in a simulation.</summary>
internal enum Op
{
    FaultBegins,
    FaultEnds,
    Judge,
    PersonLooks,

    // Agent: the keeper's pass, the lease, orders.
    AgentPass,
    Assigned,
    RenewPass,
    LeaseAnswered,
    RenewTimeout,
    PromiseAsked,
    PromiseAnswered,
    LeaseExtended,
    OrderCame,
    StepDone,
    FenceDone,

    // Guard.
    GuardExtend,
    GuardTimer,
    GuardStop,
    GateLook,
    GateSend,

    // PostgreSQL.
    Write,
    Flush,
    Confirm,
    Ended,
    WalCame,

    // Gateway.
    GatewayWrite,
    GatewayAnswer,
    GatewayTable,
    GatewayHoldEnds,
    Probe,

    // Server.
    ServerPass,
    Report,
    Sightings,
    LeaseAsked,
    OrderAnswered,
    OrderTimeout,
    RunPass,
    ServerUp,

    // Clients.
    ClientNext,
    ClientTimeout,
    ClientDone,
}
