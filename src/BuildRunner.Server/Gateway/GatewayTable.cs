using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Regions;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Gateway;

/// <summary>
/// The table in force, kept on disk too: a gateway that starts without the server serves from the last one saved, at most half a second older than
/// the last in force. A row never goes back to a lower epoch.
/// Holds end here by this process's own clock, whoever forgot them.
/// </summary>
internal sealed class GatewayTable : IDisposable
{
    /// <summary>Tables that come in a burst, as in a move of the database, are saved once.</summary>
    private static readonly TimeSpan SavePause = TimeSpan.FromMilliseconds(500);

    private readonly string _tableFile;
    private readonly string _keysFile;
    private readonly string _summonFile;
    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private readonly Dictionary<(string Database, string HoldId), long> _holdSeen = [];
    private readonly Dictionary<string, LocalHold> _local = [];
    private readonly Lock _disk = new();
    private readonly ITimer _save;
    private GatewayDocument? _unsaved;
    private GatewayState? _state;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public GatewayTable(string folder, TimeProvider time)
    {
        Directory.CreateDirectory(folder);
        (_tableFile, _keysFile, _summonFile, _time) = (Path.Combine(folder, "table.json"), Path.Combine(folder, "affinity-keys"), Path.Combine(folder, "summon-key"), time);
        _save = time.CreateTimer(_ => Save(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Null until the first table.</summary>
    public GatewayState? State => Volatile.Read(ref _state);

    /// <summary>Ends when the next table, or the end of a local hold, is in force. Take it before looking at <see cref="State"/>.</summary>
    public Task Changed => Volatile.Read(ref _changed).Task;

    /// <summary>Takes the saved table; what is wrong with it comes back as a sentence, and the gateway waits for the server instead.</summary>
    public string? Load()
    {
        if (!File.Exists(_tableFile))
            return null;
        try
        {
            var document = JsonSerializer.Deserialize(File.ReadAllBytes(_tableFile), WireJson.Default.GatewayDocument) ?? throw new JsonException("it is empty");
            IReadOnlyList<string> keys = File.Exists(_keysFile) ? File.ReadAllLines(_keysFile) : [];
            Install(document with { AffinityKeys = keys, SummonKey = File.Exists(_summonFile) ? File.ReadAllText(_summonFile) : null });
            return null;
        }
        catch (Exception error) when (error is JsonException or FormatException or IOException or ArgumentException)
        {
            return $"The saved table {_tableFile} cannot be used: {error.Message}";
        }
    }

    /// <summary>Called with what went wrong when a table could not be saved; the next one is tried again.</summary>
    public event Action<Exception>? SaveFailed;

    /// <summary>In force on return, and saved soon after: users wait for the one and not for the other.</summary>
    public void Apply(GatewayDocument document)
    {
        if (Interlocked.Exchange(ref _unsaved, Install(document)) is null)
            _save.Change(SavePause, Timeout.InfiniteTimeSpan);
    }

    public void Dispose()
    {
        _save.Dispose();
        Save();
    }

    private void Save()
    {
        lock (_disk)
        {
            if (Interlocked.Exchange(ref _unsaved, null) is not { } document)
                return;
            try
            {
                // The keys apart, so that the table can be shown to anyone who asks for it.
                if (document.AffinityKeys.Count > 0)
                    AtomicFile.Write(_keysFile, string.Join('\n', document.AffinityKeys));
                if (document.SummonKey is { } key)
                    AtomicFile.Write(_summonFile, key);
                AtomicFile.Write(_tableFile, JsonSerializer.SerializeToUtf8Bytes(document with { AffinityKeys = [], SummonKey = null }, WireJson.Default.GatewayDocument));
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException) { SaveFailed?.Invoke(error); }
        }
    }

    /// <summary>When this gateway ends a hold by its own clock, counted from when it first saw it; null: that hold is not in force.</summary>
    public TimeSpan? HoldLeft(string database, string holdId)
    {
        var duration = State?.View.Table.Hold.Duration ?? new HoldRules().Duration;
        lock (_gate)
        {
            long? seen = _holdSeen.TryGetValue((database, holdId), out var at) ? at
                : _local.TryGetValue(database, out var local) && local.Id == holdId && !IsOver(local) ? local.Since : null;
            return seen is { } since ? duration - _time.GetElapsedTime(since) : null;
        }
    }

    /// <summary>The hold a write to a database meets here: the table's, or this gateway's own after an answer of a newer epoch.</summary>
    public string? LocalHoldOf(string database)
    {
        lock (_gate)
            return _local.TryGetValue(database, out var local) && !IsOver(local) ? local.Id : null;
    }

    /// <summary>An answer bore a newer epoch than the table: writes wait until the table has it, once an epoch and never longer than any hold.</summary>
    public bool HoldUntil(string database, long epoch)
    {
        lock (_gate)
        {
            if (_state?.View.Database(database) is not { } row || row.Epoch >= epoch || (_local.TryGetValue(database, out var known) && known.Epoch >= epoch))
                return false;
            _local[database] = new LocalHold($"newer-epoch-{epoch}", epoch, _time.GetTimestamp());
            return true;
        }
    }

    private bool IsOver(LocalHold local) =>
        _time.GetElapsedTime(local.Since) >= (_state?.View.Table.Hold.Duration ?? new HoldRules().Duration);

    private GatewayDocument Install(GatewayDocument document)
    {
        TaskCompletionSource woken;
        lock (_gate)
        {
            var table = document.Table;
            if (_state is { } before)
            {
                table = table with
                {
                    Databases = [.. table.Databases.Select(row => before.View.Database(row.Name) is { } old && old.Epoch > row.Epoch ? old : row)],
                };
            }
            document = document with { Table = table };
            var now = _time.GetTimestamp();
            var holds = table.Databases.Where(d => d.HoldId is not null).Select(d => (d.Name, d.HoldId!)).ToHashSet();
            foreach (var gone in _holdSeen.Keys.Where(k => !holds.Contains(k)).ToList())
                _holdSeen.Remove(gone);
            foreach (var hold in holds)
                _holdSeen.TryAdd(hold, now);
            foreach (var row in table.Databases)
            {
                if (_local.TryGetValue(row.Name, out var local) && row.Epoch >= local.Epoch)
                    _local.Remove(row.Name);
            }
            // A full fence: a write that was counted before this sees the new table or is seen by the next report.
            var keys = document.AffinityKeys.Count == 0 && _state is { } former ? former.AffinityKeys : Keys(document.AffinityKeys);
            var summon = document.SummonKey is { Length: > 0 } text ? Convert.FromBase64String(text) : _state?.SummonKey;
            Interlocked.Exchange(ref _state, new GatewayState(new RoutingView(table), keys, document.Probes, summon));
            // What is saved has them too, also when a document without any comes before the one that brought them was saved.
            document = document with { AffinityKeys = [.. keys.Select(k => Convert.ToBase64String(k))], SummonKey = summon is null ? null : Convert.ToBase64String(summon) };
            woken = Interlocked.Exchange(ref _changed, new(TaskCreationOptions.RunContinuationsAsynchronously));
        }
        woken.TrySetResult();
        return document;
    }

    private static List<byte[]> Keys(IReadOnlyList<string> keys)
    {
        var read = new List<byte[]>();
        foreach (var key in keys.Where(k => k.Length > 0))
            read.Add(Convert.FromBase64String(key));
        return read;
    }

    private readonly record struct LocalHold(string Id, long Epoch, long Since);
}

/// <summary>All that a document says, ready for use.</summary>
/// <param name="View">The table.</param>
/// <param name="AffinityKeys">Keys of `br-affinity`, newest first.</param>
/// <param name="Probes">What this gateway looks at.</param>
/// <param name="SummonKey">By which a summons to another server is known; null: none is taken.</param>
internal sealed record GatewayState(RoutingView View, IReadOnlyList<byte[]> AffinityKeys, IReadOnlyList<ProbeTarget> Probes, byte[]? SummonKey = null)
{
    public override string ToString() => $"GatewayState {{ Table = {View.Table.Version} }}";
}
