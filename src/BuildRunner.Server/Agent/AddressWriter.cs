using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent;

/// <summary>Tells the applications on this host where to write, and at which epoch: one file a database, written whole.</summary>
internal sealed class AddressWriter(AgentOptions options, AgentStateFile state, AssignmentBook book, PostgresHome home, INetwork network)
{
    private readonly Lock _gate = new();
    private AddressFile? _written;

    public string PathOf(string database) => Path.Combine(Path.GetFullPath(options.DataFolder), $"address-{database}.json");

    /// <summary>Writes the file when what it should say has changed.</summary>
    public void Write()
    {
        if (book.Current?.Database is not { } assignment)
            return;
        lock (_gate)
        {
            var fence = home.IsPrepared && File.Exists(home.FenceFile) ? JsonSerializer.Deserialize(File.ReadAllBytes(home.FenceFile), GuardJson.Default.FenceFile)?.Epoch : null;
            var file = Decide(options, assignment, state.Current, fence, home.IsPrepared && home.HasData, network);
            if (file == _written)
                return;
            AtomicFile.Write(PathOf(assignment.Name), JsonSerializer.SerializeToUtf8Bytes(file, WireJson.Default.AddressFile), AtomicFile.Readable, durable: false);
            _written = file;
        }
    }

    /// <summary>Closed while nobody may write or this host does not know who may; open at once where an order has just made the primary.</summary>
    public static AddressFile Decide(AgentOptions options, DatabaseAssignment assignment, AgentState state, long? fenced, bool hasCopy, INetwork network)
    {
        var mine = state.PrimaryEpoch is { } own && (own > assignment.Epoch || (own == assignment.Epoch && assignment.Primary == options.Region)) && !(fenced >= own) ? own : (long?)null;
        var theirs = mine is null && assignment is { State: not EpochState.Moving, PrimaryHost: not null } && assignment.Epoch >= state.SeenEpoch
            && !(assignment.Primary == options.Region && fenced >= assignment.Epoch);
        var to = mine is not null ? new(options.Host, options.DatabasePort) : theirs ? network.Map(assignment.PrimaryHost!, assignment.PrimaryPort) : null;
        return new AddressFile
        {
            Region = options.Region,
            Database = assignment.Name,
            Epoch = mine ?? Math.Max(assignment.Epoch, state.SeenEpoch),
            Open = to is not null,
            WriteHost = to?.Host,
            WritePort = to?.Port ?? 0,
            WriteRegion = mine is not null ? options.Region : theirs ? assignment.Primary : null,
            ReadHost = hasCopy ? options.Host : null,
            ReadPort = hasCopy ? options.DatabasePort : 0,
            DatabaseName = assignment.DatabaseName,
            User = assignment.User,
            PasswordFile = Path.GetFullPath(Path.Combine(options.SecretsFolder ?? ".", "app")),
        };
    }
}
