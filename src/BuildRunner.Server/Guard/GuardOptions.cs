namespace BuildRunner.Server.Guard;

/// <summary>What a guard is started with; read by hand, because the guard must be up before a command-line parser would be.</summary>
internal sealed record GuardOptions
{
    public const string Usage = "br guard --data DIR --permit-dir DIR --port P --host H [--sockets DIRS] [--bin DIR] [--user NAME] [--log FILE] | br guard --fence EPOCH --run RUN --data DIR --permit-dir DIR";

    /// <summary>PostgreSQL's data directory.</summary>
    public required string Data { get; init; }

    /// <summary>Folder on a tmpfs with the permit and the sockets.</summary>
    public required string PermitFolder { get; init; }
    public int Port { get; init; } = 5432;

    /// <summary>Value of `listen_addresses`.</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>Value of `unix_socket_directories`; null: the permit's folder alone.</summary>
    public string? Sockets { get; init; }

    /// <summary>Folder of the PostgreSQL executables; empty: found on PATH.</summary>
    public string Binaries { get; init; } = "";

    /// <summary>User that PostgreSQL runs as when the guard is root.</summary>
    public string User { get; init; } = "postgres";
    public string? Log { get; init; }

    /// <summary>Start nothing: end what runs, write this epoch's fence, print the answer, exit.</summary>
    public long? Fence { get; init; }
    public string? Run { get; init; }

    public string Permit => Path.Combine(PermitFolder, "permit.conf");
    public string Socket => Path.Combine(PermitFolder, "guard.sock");
    public string Lock => Path.Combine(PermitFolder, "guard.lock");
    public string FenceFile => Path.Combine(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(Data))!, "fence.json");

    /// <summary>Null when something is missing or unknown.</summary>
    public static GuardOptions? Parse(ReadOnlySpan<string> args)
    {
        string? data = null, permit = null, log = null, run = null, sockets = null, binaries = "", host = "127.0.0.1", user = "postgres";
        var port = 5432;
        long? fence = null;
        for (var i = 0; i + 1 < args.Length; i += 2)
        {
            var value = args[i + 1];
            switch (args[i])
            {
                case "--data": data = Path.GetFullPath(value); break;
                case "--permit-dir": permit = Path.GetFullPath(value); break;
                case "--host": host = value; break;
                case "--sockets": sockets = value; break;
                case "--bin": binaries = value; break;
                case "--user": user = value; break;
                case "--log": log = value; break;
                case "--run": run = value; break;
                case "--port" when int.TryParse(value, CultureInfo.InvariantCulture, out port): break;
                case "--fence" when long.TryParse(value, CultureInfo.InvariantCulture, out var epoch): fence = epoch; break;
                default: return null;
            }
        }
        return data is null || permit is null || args.Length % 2 != 0
            ? null
            : new() { Data = data, PermitFolder = permit, Port = port, Host = host, Sockets = sockets, Binaries = binaries, User = user, Log = log, Fence = fence, Run = run };
    }
}
