using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent;

/// <summary>What an agent must not forget; every change is on the disk before it counts.</summary>
internal sealed record AgentState
{
    public int SchemaVersion { get; init; } = 1;

    /// <summary>Highest epoch and fencing token that this host was told; orders of lower ones are refused.</summary>
    public long SeenEpoch { get; init; }
    public long SeenToken { get; init; }

    /// <summary>Name of the sequence that those epochs belong to: a server whose store was lost begins another one.</summary>
    public string? Lineage { get; init; }

    /// <summary>Epoch of which the data here is, or ended as, the primary's; null: it is a standby's.</summary>
    public long? PrimaryEpoch { get; init; }

    /// <summary>initdb began and its marker was not yet seen: the data is worth nothing.</summary>
    public bool Initialising { get; init; }

    /// <summary>A promotion to this epoch was ordered and is not yet counted.</summary>
    public long? Promoting { get; init; }

    /// <summary>A demotion that Patroni was told of here, kept until the cluster takes writes again or follows another.</summary>
    public DemotionNote? Demotion { get; init; }

    /// <summary>Members that Patroni's cluster here has listed of late, each with the time at which it did so last.</summary>
    public IReadOnlyList<MemberNote> Members { get; init; } = [];

    /// <summary>Number of the timeline on which Patroni's cluster here took writes when another region's epoch was open already (0: not known); null: it did not, or follows since.</summary>
    public int? Stale { get; init; }

    /// <summary>Nothing is received from a primary of this epoch or an older one.</summary>
    public long? CutEpoch { get; init; }

    /// <summary>The run that cut it and the one that had it refuse last: only those take it back. Null: kept by an older version.</summary>
    public string? CutRun { get; init; }

    /// <summary>A primary of this epoch or an older one gets no promise in failsafe any more.</summary>
    public long? RefusedEpoch { get; init; }
    public string? RefusedRun { get; init; }

    /// <summary>The longest for which this host ever promised not to be promoted.</summary>
    public TimeSpan PromisedTtl { get; init; }

    /// <summary>The run whose fault was lifted last: an order of it that comes late breaks nothing.</summary>
    public string? LiftedFault { get; init; }

    /// <summary>The primary that the standby is set to follow.</summary>
    public string? Following { get; init; }

    /// <summary>What a drill keeps broken here.</summary>
    public FaultNote? Fault { get; init; }

    /// <summary>The PostgreSQL of somebody else that is being taken over here, or was; null: the data here was made here.</summary>
    public AdoptionNote? Adoption { get; init; }

    public int Promotions { get; init; }
    public SalvageReading? Salvage { get; init; }

    /// <summary>A rewind or a base backup began for this epoch and is not finished: what lies in the data folder is no copy of anything.</summary>
    public bool Rebuilding { get; init; }
}

/// <param name="Folder">Its data directory, links resolved.</param>
/// <param name="Run">The run by which it was consented to.</param>
/// <param name="Epoch">The epoch whose primary or copy it became.</param>
/// <param name="Primary">It takes writes.</param>
/// <param name="Listen">Addresses that it listens on.</param>
/// <param name="Sockets">Folders of its sockets besides the agent's.</param>
/// <param name="ConfigFile">Its former configuration file, where that lies elsewhere; null: it lay in the data directory.</param>
/// <param name="Done">It runs under the guard; until then nothing of it is certain.</param>
/// <param name="AwayMs">How long the restart took; null: it was cut short, or is not done.</param>
internal sealed record AdoptionNote(string Folder, string Run, long Epoch, bool Primary, string Listen, IReadOnlyList<string> Sockets, string? ConfigFile, bool Done = false, double? AwayMs = null);

/// <param name="Epoch">The epoch that it ends.</param>
/// <param name="Copies">Those that streamed from here before, and must hold all of it; null: nobody asked.</param>
internal sealed record DemotionNote(long Epoch, IReadOnlyList<string>? Copies);

/// <param name="Name">As the cluster listed it.</param>
/// <param name="Host">Where its PostgreSQL listened.</param>
/// <param name="Port">And at which port.</param>
/// <param name="Listed">When it was last seen in the list, to the hour.</param>
internal sealed record MemberNote(string Name, string Host, int Port, DateTimeOffset Listed);

/// <param name="Kind">What is broken.</param>
/// <param name="Run">The drill's run.</param>
/// <param name="Until">When the agent mends it by itself, by this host's wall clock.</param>
/// <param name="Part">Which processes are frozen or made slow.</param>
/// <param name="Processes">Their numbers, or those of the first of them: an agent that starts again thaws what was left.</param>
internal sealed record FaultNote(FaultKind Kind, string Run, DateTimeOffset Until, FaultPart? Part = null, IReadOnlyList<int>? Processes = null)
{
    public override string ToString() => $"{FaultKinds.Say(Kind, Part)} by {Run}";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(AgentState))]
[JsonSerializable(typeof(SalvageReading))]
internal sealed partial class AgentJson : JsonSerializerContext;

/// <summary>The state and its file.</summary>
internal sealed class AgentStateFile
{
    private readonly Lock _gate = new();
    private readonly string _path;
    private AgentState _state;

    public AgentStateFile(AgentOptions options)
    {
        _path = Path.Combine(options.DataFolder, "state.json");
        _state = File.Exists(_path)
            ? JsonSerializer.Deserialize(File.ReadAllBytes(_path), AgentJson.Default.AgentState) ?? throw new JsonException($"{_path} holds null.")
            : new();
    }

    public AgentState Current => Volatile.Read(ref _state);

    /// <summary>Takes back what a run had cut off or refused, unless a newer one needs it; whether it is receiving again.</summary>
    public bool LiftCut(string run)
    {
        var effect = false;
        Change(s =>
        {
            var (cut, refused) = (CutMark.Lift(s.CutEpoch, s.CutRun, run), CutMark.Lift(s.RefusedEpoch, s.RefusedRun, run));
            effect = cut && s.CutEpoch is not null;
            if (cut)
                s = s with { CutEpoch = null, CutRun = null, Following = null };
            return refused ? s with { RefusedEpoch = null, RefusedRun = null } : s;
        });
        return effect;
    }

    /// <summary>Changes the state; returns when the change would survive a loss of power.</summary>
    public AgentState Change(Func<AgentState, AgentState> change)
    {
        lock (_gate)
        {
            var next = change(_state);
            if (next == _state)
                return next;
            AtomicFile.Write(_path, JsonSerializer.SerializeToUtf8Bytes(next, AgentJson.Default.AgentState));
            Volatile.Write(ref _state, next);
            return next;
        }
    }
}
