using System.Diagnostics;

namespace BuildRunner.Tests.Support;

/// <summary>A region's Patroni cluster of one member, with the other region's etcd or its own; real programs, ended with the test.</summary>
internal sealed class PatroniRegion : IAsyncDisposable
{
    public const string Password = "patroni-password";
    private static readonly TimeSpan StartMax = TimeSpan.FromSeconds(60);
    private static readonly IReadOnlyDictionary<string, string?> NoEnvironment = new Dictionary<string, string?>();
    private readonly string _folder;
    private int _etcdPort;
    private KeptProcess? _etcd;
    private KeptProcess? _patroni;

    public PatroniRegion(string folder, string name)
    {
        _folder = Directory.CreateDirectory(Path.Combine(folder, name)).FullName;
        Member = new PatroniMember(name, "127.0.0.1", PatroniMember.FreePort("127.0.0.1"), PatroniMember.FreePort("127.0.0.1"), Directory.CreateDirectory(Path.Combine(_folder, "member")).FullName);
    }

    public PatroniMember Member { get; }

    public string Log => string.Join('\n', new[] { _etcd, _patroni }.Select(p => p?.LastWords));

    /// <param name="standbyOf">Port of the primary that it begins as a standby cluster of; null: it takes writes.</param>
    /// <param name="cancel">Ends the wait.</param>
    public async Task StartAsync(int? standbyOf, CancellationToken cancel)
    {
        int client = PatroniMember.FreePort("127.0.0.1"), peer = PatroniMember.FreePort("127.0.0.1");
        _etcdPort = client;
        var upstream = standbyOf is { } port ? string.Create(CultureInfo.InvariantCulture, $"{{host: 127.0.0.1, port: {port}, create_replica_methods: [basebackup]}}") : null;
        await File.WriteAllTextAsync(Member.Config, PatroniFiles.Patroni(Member, "region", new PatroniTimes(20, 1, 3), $"127.0.0.1:{client}", PostgresServer.Binaries, Password, upstream), cancel);
        var etcd = Directory.CreateDirectory(Path.Combine(_folder, "etcd"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute).FullName;
        if (Environment.IsPrivilegedProcess)
        {
            using var give = Process.Start("chown", ["-R", "postgres:postgres", _folder]);
            await give.WaitForExitAsync(cancel);
        }
        _etcd = await KeptAsync("etcd", "etcd", "--name", "etcd1", "--data-dir", etcd, "--listen-client-urls", $"http://127.0.0.1:{client}", "--advertise-client-urls", $"http://127.0.0.1:{client}",
            "--listen-peer-urls", $"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", $"http://127.0.0.1:{peer}", "--initial-cluster", $"etcd1=http://127.0.0.1:{peer}");
        await StartMemberAsync(cancel);
    }

    public async Task StartMemberAsync(CancellationToken cancel)
    {
        _patroni?.Dispose();
        _patroni = await KeptAsync("patroni", "patroni", Member.Config);
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        try
        {
            await Eventually.TrueAsync(async () =>
            {
                try { return (await http.GetAsync(new Uri(Member.Api, "/leader"), cancel)).IsSuccessStatusCode; }
                catch (HttpRequestException) { return false; }
            }, $"{Member.Name} leads its cluster", cancel, StartMax);
        }
        catch (TimeoutException late) { throw new TimeoutException($"{late.Message}\n{Log}"); }
    }

    /// <summary>Until the cluster's lock has run out, as it has after any loss that lasts: who then comes back is promoted anew.</summary>
    public Task LockEndsAsync(CancellationToken cancel) => Eventually.TrueAsync(async () =>
    {
        var key = Convert.ToBase64String("/service/region/leader"u8);
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        using var answer = await http.PostAsync(new Uri($"http://127.0.0.1:{_etcdPort}/v3/kv/range"), new StringContent($$"""{"key":"{{key}}"}"""), cancel);
        return answer.IsSuccessStatusCode && !(await answer.Content.ReadAsStringAsync(cancel)).Contains("\"kvs\"", StringComparison.Ordinal);
    }, "the leader's lock runs out", cancel, StartMax);

    /// <summary>Tells Patroni to be a standby cluster of nobody, as an agent does that demotes it.</summary>
    public async Task DemoteAsync(CancellationToken cancel)
    {
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        using var answer = await http.PatchAsync(new Uri(Member.Api, "/config"), new StringContent("""{"standby_cluster":{"restore_command":"false"}}"""), cancel);
        answer.EnsureSuccessStatusCode();
        await Eventually.TrueAsync(async () => (await http.GetAsync(new Uri(Member.Api, "/standby-leader"), cancel)).IsSuccessStatusCode, $"{Member.Name} is demoted", cancel, StartMax);
    }

    /// <summary>`kill -9` of Patroni and PostgreSQL.</summary>
    public async Task KillAsync()
    {
        if (_patroni is { } patroni)
        {
            Signals.Send("KILL", [patroni.Id, .. Signals.In(Member.Data)]);
            await patroni.EndedAsync(CancellationToken.None);
        }
        Signals.Send("KILL", Signals.In(Member.Data));
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        _patroni?.Dispose();
        if (_etcd is not { } etcd)
            return;
        Signals.Send("KILL", etcd.Id);
        await etcd.EndedAsync(CancellationToken.None);
        etcd.Dispose();
    }

    private Task<KeptProcess> KeptAsync(string log, params string[] command) =>
        KeptProcess.StartAsync(Path.Combine(_folder, $"{log}.log"), NoEnvironment, Environment.IsPrivilegedProcess ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", .. command] : command);
}
