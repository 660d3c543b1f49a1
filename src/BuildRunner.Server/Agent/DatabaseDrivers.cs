using BuildRunner.Server.Agent.Adoption;
using BuildRunner.Server.Agent.Patroni;

namespace BuildRunner.Server.Agent;

/// <summary>Who has this host's database now: Patroni, nobody yet (it is to be adopted), or the agent's guard.</summary>
internal sealed class DatabaseDrivers(AssignmentBook book, AdoptionWork adoption, PostgresDatabase postgres, PatroniDatabase patroni, UnfencedDatabase unfenced)
{
    public IDatabaseDriver Current =>
        book.Current?.Database?.Patroni is not null ? patroni
        : adoption.IsPending ? unfenced
        : postgres;

    /// <summary>Why faults are not made here; null: they are.</summary>
    public string? NoFaults(string region) => Current switch
    {
        PatroniDatabase => $"{region} runs under Patroni, and drills that break it are not made there: break it yourself, or try `br dr switchover`.",
        UnfencedDatabase => $"The PostgreSQL of {region} is not adopted yet, and drills that break it are not made there: `br dr adopt {region}` first.",
        _ => null,
    };
}
