using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Serialization;

namespace BuildRunner.Cli;

/// <summary>`br doctor`: what this machine lacks for BuildRunner, and what to do about it.</summary>
internal static class DoctorCommand
{
    private static readonly (string Host, int Port, string For)[] Ports =
    [
        ("127.0.0.1", 8400, "server"), ("127.0.0.1", 8453, "DNS"),
        .. Enumerable.Range(1, 4).Select(n => ($"127.0.{n.ToString(CultureInfo.InvariantCulture)}.1", 8080, "gateway")),
        .. Enumerable.Range(1, 3).Select(n => ($"127.0.{n.ToString(CultureInfo.InvariantCulture)}.1", 5433, "PostgreSQL")),
    ];

    public static Command Build() => new Command("doctor", "Checks this machine: PostgreSQL, ports, memory file system, permissions").Does(async context =>
    {
        var endpoints = CliEndpoints.Find(context.Parse.GetValue(CliContext.Server), context.Parse.GetValue(CliContext.TokenFile));
        var runs = await AnswersAsync(endpoints.Server, context.Cancel);
        var report = new DoctorReport { Checks = [Postgres(), MemoryFiles(), .. Places(runs), Account(), Token(endpoints, runs), Disk()] };
        context.Print(report, DoctorJson.Default.DoctorReport, (_, r) =>
        {
            foreach (var check in r.Checks)
            {
                Console.Out.WriteLine($"{(check.Ok ? "●" : "✖")} {check.Name,-18} {check.Found}");
                if (check.Fix is { } fix)
                    Console.Out.WriteLine($"    → {fix}");
            }
            Console.Out.WriteLine(r.Ok ? "Nothing is wrong here. Next: `./br dev --detach`" : $"{r.Checks.Count(c => !c.Ok)} of {r.Checks.Count} need something.");
        });
        return report.Ok ? ExitCode.Fine : ExitCode.Refused;
    });

    private static DoctorCheck Postgres()
    {
        const string Installed = "/usr/lib/postgresql";
        var folder = (Directory.Exists(Installed) ? Directory.GetDirectories(Installed).Select(d => Path.Combine(d, "bin")) : [])
            .Concat((Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries))
            .LastOrDefault(f => File.Exists(Path.Combine(f, "postgres")) && File.Exists(Path.Combine(f, "pg_basebackup")));
        return folder is not null
            ? new("PostgreSQL", true, $"programs in {folder}", null)
            : new("PostgreSQL", false, "its programs are not installed", "sudo apt-get update && sudo apt-get install -y postgresql");
    }

    private static DoctorCheck MemoryFiles()
    {
        try
        {
            var format = new DriveInfo("/dev/shm").DriveFormat;
            return format == "tmpfs"
                ? new("/dev/shm", true, "a tmpfs: permits do not outlive a reboot", null)
                : new("/dev/shm", false, $"a {format}, not a tmpfs: a permit would outlive a reboot", "mount -t tmpfs tmpfs /dev/shm");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return new("/dev/shm", false, error.Message, "mount -t tmpfs tmpfs /dev/shm");
        }
    }

    private static IEnumerable<DoctorCheck> Places(bool runs)
    {
        if (runs)
        {
            yield return new("ports", true, "a server answers here: its ports are its own", null);
            yield break;
        }
        var taken = Ports.Where(p => !Free(p.Host, p.Port)).Select(p => $"{p.Host}:{p.Port.ToString(CultureInfo.InvariantCulture)} ({p.For})").ToList();
        yield return taken.Count == 0
            ? new("ports", true, $"{Ports.Length.ToString(CultureInfo.InvariantCulture)} addresses on loopback are free", null)
            : new("ports", false, $"taken: {string.Join(", ", taken)}", "`ss -ltnp` names who has them; or start with `br dev --port-offset auto`");
    }

    private static bool Free(string host, int port)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        try { socket.Bind(new IPEndPoint(IPAddress.Parse(host), port)); }
        catch (SocketException) { return false; }
        return true;
    }

    private static DoctorCheck Account()
    {
        if (Environment.UserName != "root")
            return new("account", true, $"{Environment.UserName}: PostgreSQL runs as you", null);
        var known = File.Exists("/etc/passwd") && File.ReadLines("/etc/passwd").Any(line => line.StartsWith("postgres:", StringComparison.Ordinal));
        if (!known)
            return new("account", false, "root, and there is no user postgres to run PostgreSQL as", "apt-get install -y postgresql, or run br as another user");
        return File.Exists("/usr/bin/setpriv")
            ? new("account", true, "root: PostgreSQL runs as user postgres", null)
            : new("account", false, "root, and setpriv is missing: PostgreSQL refuses to run as root", "apt-get install -y util-linux");
    }

    private static DoctorCheck Token(CliEndpoints endpoints, bool runs)
    {
        if (!File.Exists(endpoints.TokenFile))
            return new("token", !runs, runs ? $"a server answers at {endpoints.Server}, and there is no token at {endpoints.TokenFile}" : "none yet: the first start makes one", runs ? "name it with --token-file or BR_TOKEN_FILE" : null);
        var mode = File.GetUnixFileMode(endpoints.TokenFile);
        return (mode & (UnixFileMode.GroupRead | UnixFileMode.OtherRead)) == 0
            ? new("token", true, $"{endpoints.TokenFile}, readable by you alone", null)
            : new("token", false, $"{endpoints.TokenFile} can be read by others", $"chmod 600 {endpoints.TokenFile}");
    }

    private static DoctorCheck Disk()
    {
        var free = new DriveInfo(Environment.CurrentDirectory).AvailableFreeSpace;
        return free > 1L << 30
            ? new("disk", true, $"{Core.Regions.Words.Bytes(free)} free here", null)
            : new("disk", false, $"{Core.Regions.Words.Bytes(free)} free here; the sandbox needs about 1 GiB", "make room, or choose another folder with `br dev --data DIR`");
    }

    private static async Task<bool> AnswersAsync(Uri server, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(TimeSpan.FromSeconds(1));
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try { await socket.ConnectAsync(server.Host, server.Port, limit.Token); }
        catch (Exception error) when (error is SocketException or OperationCanceledException && !cancel.IsCancellationRequested) { return false; }
        return true;
    }
}

internal sealed record DoctorReport
{
    public int SchemaVersion { get; init; } = 1;
    public required IReadOnlyList<DoctorCheck> Checks { get; init; }
    public bool Ok => Checks.All(c => c.Ok);
}

/// <summary>What was looked at and found; a fix when it is not well.</summary>
internal sealed record DoctorCheck(string Name, bool Ok, string Found, string? Fix);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(DoctorReport))]
internal sealed partial class DoctorJson : JsonSerializerContext;
