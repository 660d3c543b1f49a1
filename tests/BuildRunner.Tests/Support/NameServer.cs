using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using ARSoft.Tools.Net;
using ARSoft.Tools.Net.Dns;
using ARSoft.Tools.Net.Dns.DynamicUpdate;

namespace BuildRunner.Tests.Support;

/// <summary>A TSIG key of a test.</summary>
public sealed record NameServerKey(string Name, string Secret);

/// <summary>
/// A real BIND or Knot of a test, with one zone of its own folder and port. The key <see cref="Key"/> may update all that lies in shop.br.test; <see cref="Root"/> may
/// update anything, <see cref="Nothing"/> is known and may not. It dies with the test process, and is ended by its process id on disposal.
/// </summary>
public sealed class NameServer : IAsyncDisposable
{
    public const string Zone = "br.test";
    public static readonly NameServerKey Key = new("br", "bW9ja3NlY3JldG1vY2tzZWNyZXRtb2Nrc2VjcmV0MTI=");
    public static readonly NameServerKey Root = new("root", "cm9vdHNlY3JldHJvb3RzZWNyZXRyb290c2VjcmV0MTI=");
    public static readonly NameServerKey Nothing = new("nothing", "bm90aGluZ25vdGhpbmdub3RoaW5nbm90aGluZzEyMzQ=");
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    private readonly TempFolder _folder = new();
    private readonly ConcurrentQueue<string> _log = new();
    private Process? _process;
    private Task? _exited;

    private NameServer(string kind, int port) => (Kind, EndPoint) = (kind, new(IPAddress.Loopback, port));

    public string Kind { get; }
    public IPEndPoint EndPoint { get; }
    public string Log => string.Join('\n', _log);

    /// <summary>`bind` or `knot`.</summary>
    public static async Task<NameServer> StartAsync(string kind)
    {
        for (var attempt = 1; ; attempt++)
        {
            var server = new NameServer(kind, FreePort());
            if (await server.TryStartAsync())
                return server;
            await server.DisposeAsync();
            if (attempt == 3) // another process may have taken the port since
                throw new InvalidOperationException($"{kind} did not start:\n{server.Log}");
        }
    }

    /// <summary>A BIND that takes the zone from another, and is told of its changes.</summary>
    public static async Task<(NameServer Primary, NameServer Secondary)> StartPairAsync()
    {
        for (var attempt = 1; ; attempt++)
        {
            var (primary, secondary) = (new NameServer("bind", FreePort()), new NameServer("bind", FreePort()));
            primary._more = string.Create(CultureInfo.InvariantCulture, $"notify explicit; also-notify {{ 127.0.0.1 port {secondary.EndPoint.Port}; }}; ");
            secondary._from = primary.EndPoint.Port;
            if (await primary.TryStartAsync() && await secondary.TryStartAsync())
                return (primary, secondary);
            await primary.DisposeAsync();
            await secondary.DisposeAsync();
            if (attempt == 3)
                throw new InvalidOperationException($"BIND did not start:\n{primary.Log}\n{secondary.Log}");
        }
    }

    private string _more = "";
    private int? _from;

    /// <summary>Sets a name's addresses, as somebody does it by hand; none: removes them.</summary>
    public async Task SetAsync(string name, params string[] addresses)
    {
        var owner = DomainName.Parse(name);
        var update = new DnsUpdateMessage { ZoneName = DomainName.Parse(Zone) };
        update.Updates.Add(new DeleteAllRecordsUpdate(owner, RecordType.A));
        update.Updates.AddRange(addresses.Select(a => new AddRecordUpdate(new ARecord(owner, 60, IPAddress.Parse(a)))));
        update.TSigOptions = new TSigRecord(DomainName.Parse(Root.Name), TSigAlgorithm.Sha256, DateTime.UtcNow, TimeSpan.FromMinutes(5), update.TransactionID, ReturnCode.NoError, null, Convert.FromBase64String(Root.Secret));
        using var client = new DnsClient([EndPoint.Address], [new TcpClientTransport(EndPoint.Port)], true, 5000);
        Assert.Equal(ReturnCode.NoError, (await client.SendUpdateAsync(update, TestContext.Current.CancellationToken))?.ReturnCode);
    }

    /// <summary>What it answers, by a client that is none of ours.</summary>
    public async Task<IReadOnlyList<string>> AskAsync(string name, RecordType type = RecordType.A) => await AskAsync(EndPoint, name, type);

    public static async Task<IReadOnlyList<string>> AskAsync(IPEndPoint server, string name, RecordType type = RecordType.A)
    {
        using var client = new DnsClient([server.Address], [new UdpClientTransport(server.Port), new TcpClientTransport(server.Port)], true, 5000);
        var answer = await client.ResolveAsync(DomainName.Parse(name), type, RecordClass.INet, new DnsQueryOptions { IsRecursionDesired = false }, TestContext.Current.CancellationToken);
        return [.. (answer?.AnswerRecords ?? []).Select(r => r switch { ARecord a => a.Address.ToString(), AaaaRecord a => a.Address.ToString(), CNameRecord c => c.CanonicalName.ToString(false).TrimEnd('.'), TxtRecord t => t.TextData, _ => r.ToString()! }).Order(StringComparer.Ordinal)];
    }

    public async Task StopAsync()
    {
        if (_process is null || _exited is null)
            return;
        if (!_process.HasExited)
            _process.Kill();
        await _exited.WaitAsync(Limit);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process?.Dispose();
        _folder.Dispose();
    }

    private async Task<bool> TryStartAsync()
    {
        await File.WriteAllTextAsync(_folder.File("zone"), $"$TTL 60\n@ IN SOA ns1.{Zone}. host.{Zone}. 1 60 30 3600 5\n@ IN NS ns1.{Zone}.\nns1 IN A 127.0.0.1\nother IN A 192.0.2.99\n");
        await File.WriteAllTextAsync(_folder.File("conf"), Kind == "bind" ? Bind() : Knot());
        string[] command = Kind == "bind" ? [Program("named"), "-f", "-c", _folder.File("conf")] : [Program("knotd"), "-c", _folder.File("conf")];
        _process = PostgresParent.Start(["--pdeathsig", "KILL", .. command]);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.BeginErrorReadLine();
        _process.BeginOutputReadLine();
        _exited = _process.WaitForExitAsync();
        var begun = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(begun) < Limit && !_process.HasExited)
        {
            using var client = new DnsClient([EndPoint.Address], [new UdpClientTransport(EndPoint.Port)], true, 300);
            if (await client.ResolveAsync(DomainName.Parse(Zone), RecordType.Soa, RecordClass.INet, null, TestContext.Current.CancellationToken) is { ReturnCode: ReturnCode.NoError, AnswerRecords.Count: 1 })
                return true;
            await Task.Delay(50);
        }
        return false;
    }

    private void Keep(string? line)
    {
        if (line is null)
            return;
        _log.Enqueue(line);
        while (_log.Count > 200)
            _log.TryDequeue(out _);
    }

    private string Bind()
    {
        string Of(NameServerKey key) => $"key \"{key.Name}\" {{ algorithm hmac-sha256; secret \"{key.Secret}\"; }};\n";
        var zone = _from is { } port
            ? string.Create(CultureInfo.InvariantCulture, $"type secondary; masterfile-format text; file \"{_folder.File("copy")}\"; primaries {{ 127.0.0.1 port {port}; }};")
            : $"type primary; file \"{_folder.File("zone")}\"; {_more}update-policy {{ grant {Key.Name} subdomain shop.{Zone}. ANY; grant {Root.Name} zonesub ANY; }};";
        return string.Create(CultureInfo.InvariantCulture,
            $$"""
            options { directory "{{_folder.Path}}"; listen-on port {{EndPoint.Port}} { 127.0.0.1; }; listen-on-v6 { none; }; pid-file "{{_folder.File("pid")}}"; session-keyfile "{{_folder.File("session")}}"; recursion no; allow-transfer { any; }; dnssec-validation no; empty-zones-enable no; notify-delay 0; };
            logging { channel out { stderr; }; category default { out; }; };
            controls { };
            {{Of(Key)}}{{Of(Root)}}{{Of(Nothing)}}
            zone "{{Zone}}" { {{zone}} };
            """);
    }

    private string Knot()
    {
        string Of(NameServerKey key) => $"  - id: {key.Name}\n    algorithm: hmac-sha256\n    secret: {key.Secret}\n";
        return string.Create(CultureInfo.InvariantCulture,
            $"""
            server:
                listen: 127.0.0.1@{EndPoint.Port}
                rundir: {_folder.Path}
                udp-workers: 1
                tcp-workers: 1
                background-workers: 1
            log:
              - target: stderr
                any: info
            database:
                storage: {_folder.Path}
                journal-db-max-size: 16M
                kasp-db-max-size: 5M
                timer-db-max-size: 1M
            key:
            {Of(Key)}{Of(Root)}{Of(Nothing)}
            acl:
              - id: shop
                key: {Key.Name}
                action: update
                update-owner: name
                update-owner-match: sub-or-equal
                update-owner-name: [shop.{Zone}.]
              - id: root
                key: {Root.Name}
                action: update
            zone:
              - domain: {Zone}
                storage: {_folder.Path}
                file: zone
                acl: [shop, root]

            """);
    }

    private static string Program(string name) => new[] { "/usr/sbin/", "/usr/bin/", "/sbin/" }.Select(folder => folder + name).FirstOrDefault(File.Exists)
        ?? throw new InvalidOperationException($"{name} is not installed: apt-get install bind9 knot");

    private static int FreePort()
    {
        for (var attempt = 0; ; attempt++)
        {
            using var tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            using var udp = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            tcp.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            try
            {
                udp.Bind(tcp.LocalEndPoint!);
                return ((IPEndPoint)tcp.LocalEndPoint!).Port;
            }
            catch (SocketException) when (attempt < 10) { } // free for TCP only
        }
    }
}
