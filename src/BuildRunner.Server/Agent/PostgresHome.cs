using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>
/// Where a database lies on this host: `DIR/postgres/` with `data/`, `salvage/` and `fence.json`. When PostgreSQL's user cannot enter DIR
/// (a clone under root's home), `DIR/postgres` is a link to a folder under /var/tmp.
/// </summary>
internal sealed class PostgresHome(AgentOptions options, PostgresAccount account, PostgresTools tools, Leftovers leftovers) : IDisposable
{
    private readonly string _link = Path.Combine(Path.GetFullPath(options.DataFolder), "postgres");
    private readonly SemaphoreSlim _turn = new(1, 1);
    private string? _folder;

    /// <summary>The folder has been found or made.</summary>
    public bool IsPrepared => _folder is not null;

    public string Folder => _folder ?? throw new InvalidOperationException("The database's folder has not been made yet.");
    public string Data => Path.Combine(Folder, "data");

    /// <summary>Where the data really lies: an adopted PostgreSQL's stays where it was, and <see cref="Data"/> leads there.</summary>
    public string Place => PlaceOf(Data);
    public string NewData => Place is var place && place == Data ? Path.Combine(Folder, "data.new") : place + NewSuffix;

    /// <summary>Beside a folder that is the user's, a name that nobody else gives.</summary>
    public const string NewSuffix = ".buildrunner-new";
    public string Salvage => Path.Combine(Folder, "salvage");
    public WalLayout Wal => WalLayout.Of(Path.Combine(Data, "pg_wal"));
    public string FenceFile => Path.Combine(Folder, "fence.json");
    public string PasswordFile => Path.Combine(Folder, "replication.pgpass");
    public string Log => Path.Combine(Folder, "postgres.log");
    public string StandbySignal => Path.Combine(Data, "standby.signal");
    public bool HasData => File.Exists(Path.Combine(Data, "PG_VERSION"));
    public bool IsStandby => File.Exists(StandbySignal);

    public async Task PrepareAsync(CancellationToken cancel)
    {
        if (_folder is not null)
            return;
        await _turn.WaitAsync(cancel);
        try { await FindOrMakeAsync(cancel); }
        finally { _turn.Release(); }
    }

    public void Dispose() => _turn.Dispose();

    /// <summary>Has the data directory lead to a folder elsewhere; null: it leads nowhere any more.</summary>
    public void Lead(string? place)
    {
        if (new DirectoryInfo(Data) is { LinkTarget: { } now })
        {
            if (now == place)
                return;
            File.Delete(Data);
        }
        if (place is not null)
            File.CreateSymbolicLink(Data, place);
    }

    /// <summary>Takes away a database that was begun here and never used; one that lies elsewhere is left alone.</summary>
    public void Clear()
    {
        if (new DirectoryInfo(Data) is { Exists: true, LinkTarget: null })
            Directory.Delete(Data, recursive: true);
    }

    private static string PlaceOf(string data) => new DirectoryInfo(data).LinkTarget ?? data;

    private async Task FindOrMakeAsync(CancellationToken cancel)
    {
        if (_folder is not null)
            return; // by who was before us
        Directory.CreateDirectory(options.DataFolder);
        var folder = await FindAsync(cancel);
        var data = Path.Combine(folder, "data");
        leftovers.Sweep(PlaceOf(new DirectoryInfo(folder) is { LinkTarget: { } target } ? Path.Combine(target, "data") : data), SystemIdentifier(data) is { } system ? PermitFolder(system) : null);
        _folder = folder;
    }

    private async Task<string> FindAsync(CancellationToken cancel)
    {
        if (new DirectoryInfo(_link) is { LinkTarget: { } target })
        {
            account.MakeFolder(target);
            Mark(target);
            return target;
        }
        // Asked at every start: a start that was killed in here leaves a folder that nobody has entered yet.
        account.MakeFolder(_link);
        var entered = await tools.RunAsync("/bin/sh", ["-c", "cd \"$0\"", _link], "/", cancel);
        if (entered.Code != 0)
        {
            if (Directory.EnumerateFileSystemEntries(_link).Any())
                throw new IOException($"{_link} holds a database, and the user postgres cannot enter it ({entered.Talk.Trim()}). Open the folders above it to that user, or move it where it can enter.");
            Directory.Delete(_link);
            return MakeElsewhere();
        }
        return _link;
    }

    private string MakeElsewhere()
    {
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(_link)))[..12];
        var place = Path.Combine(options.ElsewhereRoot, Leftovers.ElsewherePrefix + hash);
        // What lies there belonged to this very path, whose link is gone: the folder was deleted and begins anew.
        if (Directory.Exists(place))
        {
            if (!File.Exists($"{place}/{Leftovers.Owner}") || File.ReadAllText($"{place}/{Leftovers.Owner}") != _link)
                throw new IOException($"{place} is in the way: it is not ours. Move it away, or choose a data folder that the user postgres can enter.");
            if (Leftovers.Works(place) || Leftovers.IsKept(place))
            {
                throw new IOException($"{place} holds the database of {_link}, and the link to it is gone{(Leftovers.Works(place) ? " while PostgreSQL runs there" : "")}. "
                    + $"Link it again (ln -s {place} {_link}), or move it away to begin anew.");
            }
            leftovers.Discard(place);
        }
        account.MakeFolder(place);
        account.Write($"{place}/{Leftovers.Owner}", _link);
        Mark(place);
        File.CreateSymbolicLink(_link, place);
        return place;
    }

    private void Mark(string place)
    {
        if (options.IsSandbox)
            account.Write($"{place}/{Leftovers.SandboxMark}", "");
    }

    /// <summary>The cluster's own number, from its control file; null while there is none: initdb has not come that far.</summary>
    public string? SystemIdentifier() => SystemIdentifier(Data);

    private static string? SystemIdentifier(string data)
    {
        Span<byte> start = stackalloc byte[8];
        try
        {
            using var control = File.OpenRead(Path.Combine(data, "global", "pg_control"));
            control.ReadExactly(start);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException or EndOfStreamException) { return null; }
        return BinaryPrimitives.ReadUInt64LittleEndian(start).ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>Timeline and position of the latest checkpoint, from the control file; null: there is none.</summary>
    public (int Timeline, Lsn At)? Checkpoint()
    {
        Span<byte> control = stackalloc byte[52];
        using var file = File.OpenRead(Path.Combine(Data, "global", "pg_control"));
        return file.ReadAtLeast(control, control.Length, throwOnEndOfStream: false) < control.Length
            ? null
            : (BinaryPrimitives.ReadInt32LittleEndian(control[48..]), new(BinaryPrimitives.ReadUInt64LittleEndian(control[32..])));
    }

    /// <summary>Highest timeline that the WAL here belongs to; the control file lags behind a promotion.</summary>
    public int Timeline()
    {
        var highest = 0;
        foreach (var file in Directory.EnumerateFiles(Path.Combine(Data, "pg_wal")))
        {
            var name = Path.GetFileName(file.AsSpan());
            if (name.Length == 24 && int.TryParse(name[..8], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var timeline))
                highest = Math.Max(highest, timeline);
        }
        return highest;
    }

    /// <summary>Folder of the permit and the sockets; it is there only while something runs or is about to.</summary>
    public string PermitFolder() => PermitFolder(SystemIdentifier() ?? throw new InvalidOperationException("There is no PostgreSQL data here yet."));

    private string PermitFolder(string system) => Path.Combine(options.PermitRoot, system, options.Region);

    /// <summary>Makes that folder: in memory, owned by PostgreSQL's user.</summary>
    public string MakePermitFolder()
    {
        var root = options.PermitRoot;
        if (!Directory.Exists(root))
        {
            Directory.CreateDirectory(root);
            File.SetUnixFileMode(root, (UnixFileMode)0b1_111_111_111); // as /tmp: several users may have permits
        }
        if (!AgentNative.IsTmpfs(root))
            throw new IOException($"{root} is not in memory (tmpfs): a permit there would survive a restart of the machine.");
        var folder = PermitFolder();
        var system = Path.GetDirectoryName(folder)!;
        Directory.CreateDirectory(system);
        File.SetUnixFileMode(system, (UnixFileMode)0b111_101_101);
        account.Give(system);
        account.MakeFolder(folder);
        account.Write(Path.Combine(folder, Leftovers.Owner), Data);
        return folder;
    }
}
