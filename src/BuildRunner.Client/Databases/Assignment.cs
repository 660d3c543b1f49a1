using System.Text.Json.Serialization;
using BuildRunner.Core;
using BuildRunner.Core.Databases;

namespace BuildRunner.Client.Databases;

/// <summary>
/// An agent's document: what its host is to be. The agent reconciles towards it; fencing and promotion are orders of a run and never
/// follow from an assignment alone.
/// </summary>
public sealed record Assignment
{
    public int SchemaVersion { get; init; } = 1;
    public required long Version { get; init; }
    public required string Region { get; init; }
    public required long FencingToken { get; init; }
    public DatabaseAssignment? Database { get; init; }
    public IReadOnlyList<ServiceAssignment> Services { get; init; } = [];

    /// <summary>What the house is like, kept for the day on which the server is gone; the agent itself makes nothing of it.</summary>
    public HouseCopy? House { get; init; }

    /// <summary>Targets this agent probes beside its own database: as in <see cref="Routing.GatewayDocument"/>.</summary>
    public IReadOnlyList<Regions.ProbeTarget> Probes { get; init; } = [];
}

/// <summary>What every host keeps of the house, so that a failover without the server knows what the server knew.</summary>
public sealed record HouseCopy
{
    /// <summary>The policy in force as it was effective, overrides and port offset included. Secrets in it are references.</summary>
    public required string Policy { get; init; }
    public required string PolicyHash { get; init; }

    /// <summary>The epoch record as it was when this was published. What it claims of copies may have been given up since: a copy that is cut off is not told.</summary>
    public EpochRecord? Record { get; init; }

    /// <summary>Where each region's agent answers; only those that have reported.</summary>
    public IReadOnlyList<PeerAddress> Peers { get; init; } = [];
}

public sealed record DatabaseAssignment
{
    public required string Name { get; init; }
    public required long Epoch { get; init; }

    /// <summary>See <see cref="EpochRecord.Lineage"/>; an agent obeys the one it first obeyed and no other.</summary>
    public string? Lineage { get; init; }
    public required EpochState State { get; init; }
    public required DatabaseDuty Duty { get; init; }

    /// <summary>Database and role that applications use; the primary makes them with the first epoch.</summary>
    public string DatabaseName { get; init; } = "app";
    public string User { get; init; } = "app";

    /// <summary>The primary's region and address (as its own region reaches it); null while there is none to follow.</summary>
    public string? Primary { get; init; }
    public string? PrimaryHost { get; init; }
    public int PrimaryPort { get; init; }

    /// <summary>Addresses of this region's Patroni, which starts, stops and promotes PostgreSQL here; null: the agent does so itself.</summary>
    public IReadOnlyList<string>? Patroni { get; init; }

    /// <summary>How the primary's right to acknowledge ends by itself; null: it does not (`fencing: confirm`).</summary>
    public LeaseAssignment? Lease { get; init; }

    /// <summary>
    /// Value of `synchronous_standby_names` here: for whom a primary's commits wait, and what a copy begins with when it is promoted. Empty: nobody; the
    /// guard's name where there is a lease and no copy is waited for; null: it stays as it is.
    /// </summary>
    public string? Sync { get; init; }

    /// <summary>
    /// Echo of the <see cref="AgentReport.StartAsk"/> for which the server confirmed that this epoch is open and this region its primary;
    /// a permit is written only when it equals the ask of this start.
    /// </summary>
    public string? ConfirmedAsk { get; init; }

    /// <summary>True only at the first epoch of a database that has never had data: the primary may run initdb.</summary>
    public bool Initialise { get; init; }

    /// <summary>Where the epoch before this one was left (LSN of the fork), for a region that must rejoin.</summary>
    public Lsn? Fork { get; init; }
    public long? FormerEpoch { get; init; }
    public string? FormerPrimary { get; init; }
}

/// <param name="Ttl">Length of a lease as the arbiter and the candidates count it.</param>
/// <param name="Hold">Length as its holder counts it.</param>
/// <param name="Candidates">Every other region that may be promoted: each must promise in failsafe.</param>
public sealed record LeaseAssignment(TimeSpan Ttl, TimeSpan Hold, IReadOnlyList<PeerAddress> Candidates)
{
    public LeaseTerms Terms => new(Ttl, Hold);
}

/// <summary>An agent as its own region reaches it; port 0: it listens to no peer.</summary>
public sealed record PeerAddress(string Region, string Host, int Port);

[JsonConverter(typeof(SnakeCaseEnumConverter<DatabaseDuty>))]
public enum DatabaseDuty
{
    /// <summary>Leave things as they are: a run is deciding.</summary>
    Keep,
    Primary,

    /// <summary>Follow the primary; make a copy when there is none; rejoin when this host holds another epoch's end.</summary>
    Standby,
}

/// <summary>Instances of a service that this host runs.</summary>
public sealed record ServiceAssignment
{
    public required string Service { get; init; }
    public required string Track { get; init; }
    public required string Version { get; init; }
    public required int Count { get; init; }

    /// <summary>Command and arguments; `{port}`, `{region}`, `{instance}`, `{version}`, `{service}`, `{host}`, `{address_file}` are filled in by the agent.</summary>
    public required IReadOnlyList<string> Command { get; init; }
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>Instances listen on PortFrom, PortFrom + 1, ….</summary>
    public required int PortFrom { get; init; }
    public string ReadyPath { get; init; } = "/readyz";

    /// <summary>How long a stopping instance may finish what it has.</summary>
    public TimeSpan DrainMax { get; init; } = TimeSpan.FromSeconds(10);
}

/// <summary>`POST /v1/agents/{region}/report`, twice a second.</summary>
public sealed record AgentReport
{
    public int SchemaVersion { get; init; } = 1;
    public required string Incarnation { get; init; }
    public required DateTimeOffset At { get; init; }

    /// <summary>Address of the host, as its own region reaches it, and PostgreSQL's port.</summary>
    public required string Host { get; init; }
    public int DatabasePort { get; init; }

    /// <summary>Where this agent answers the others' agents, at its host; 0: nowhere.</summary>
    public int PeerPort { get; init; }

    /// <summary>Set, and made anew, whenever the agent wants to start a primary: the server answers it in <see cref="DatabaseAssignment.ConfirmedAsk"/>.</summary>
    public string? StartAsk { get; init; }
    public long FencingToken { get; init; }
    /// <summary>Base64 of the key by which gateways know a summons: drawn from the agents' own, so that no gateway needs their secret.</summary>
    public string? GatewayKey { get; init; }
    public DatabaseReading? Database { get; init; }
    public IReadOnlyList<InstanceReading> Instances { get; init; } = [];
    public IReadOnlyList<Regions.TargetReading> Targets { get; init; } = [];

    public override string ToString() => $"AgentReport of {Host} at {At:O}";
}

/// <summary>A running instance of a service, as its agent sees it.</summary>
public sealed record InstanceReading
{
    public required string Service { get; init; }
    public required string Id { get; init; }
    public required string Track { get; init; }
    public required string Version { get; init; }
    public required string Address { get; init; }
    public required int ProcessId { get; init; }
    public required bool Ready { get; init; }
    public bool Draining { get; init; }
    public int Restarts { get; init; }
    public string? Detail { get; init; }
}
