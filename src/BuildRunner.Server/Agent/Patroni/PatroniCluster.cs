using System.Text.Json.Nodes;

namespace BuildRunner.Server.Agent.Patroni;

/// <summary>A region's Patroni cluster, as its members told over REST.</summary>
/// <param name="Members">Every member that the cluster lists, each asked itself.</param>
/// <param name="Upstream">The dynamic configuration's `standby_cluster`; null: this cluster takes writes.</param>
/// <param name="Paused">Patroni is told to leave things alone, and would carry out nothing.</param>
internal sealed record PatroniCluster(IReadOnlyList<PatroniMember> Members, PatroniUpstream? Upstream, bool Paused)
{
    private static readonly string[] Keys = ["host", "port", "primary_slot_name", "restore_command"];

    public PatroniMember? Leader => Members.FirstOrDefault(m => m.Leads);

    /// <summary>Every member answered, and each is a running copy or stopped: nobody here takes a write.</summary>
    public bool IsDemoted => Upstream is not null && Members.Count > 0 && Members.All(m => m.IsCopy) && Members.Any(m => m.Leads && m.State == PatroniMember.Running);

    /// <summary>
    /// The change that makes it a standby cluster of that address; null: of nobody, so that its leader waits for WAL that never comes. Patroni keeps a null
    /// of a section that is new, and takes the key away from one that is there.
    /// </summary>
    public string Receiving((string Host, int Port)? from)
    {
        var standby = new JsonObject();
        if (from is { } to)
        {
            standby["host"] = to.Host;
            standby["port"] = to.Port;
            standby["create_replica_methods"] = new JsonArray("basebackup");
        }
        else
        {
            standby["restore_command"] = "false";
        }
        foreach (var key in Upstream is null ? [] : Keys.Where(k => !standby.ContainsKey(k)))
            standby[key] = null;
        return new JsonObject { ["standby_cluster"] = standby }.ToJsonString();
    }

    public override string ToString() => Members.Count == 0
        ? "Patroni names no member"
        : $"Patroni: {string.Join(", ", Members.Select(m => $"{m.Name} is {m.Role ?? "silent"}{(m.State is null or PatroniMember.Running ? "" : $" and {m.State}")}"))}{(Paused ? "; it is paused" : "")}";
}

/// <param name="Name">As the cluster lists it.</param>
/// <param name="Api">Its own REST address.</param>
/// <param name="Leads">It holds the leader's lock, by the cluster's list.</param>
/// <param name="Role">What it says of itself; null: it does not answer.</param>
/// <param name="State">What its PostgreSQL is doing.</param>
/// <param name="Postgres">Where that listens, by the cluster's list; null: it does not say.</param>
internal sealed record PatroniMember(string Name, Uri Api, bool Leads, string? Role, string? State, (string Host, int Port)? Postgres = null)
{
    public const string Running = "running";

    /// <summary>Versions differ: `master` until 4.0.</summary>
    public bool IsPrimary => Role is "primary" or "master";

    public bool IsCopy => (State == Running && Role is "replica" or "standby_leader" or "sync_standby" or "quorum_standby") || (State == "stopped" && !IsPrimary && Role is not null);
}

/// <summary>Where a standby cluster streams from; no host: from nowhere.</summary>
internal sealed record PatroniUpstream(string? Host, int? Port);
