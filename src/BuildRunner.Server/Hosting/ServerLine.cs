using System.Net.Http.Headers;
using BuildRunner.Client.Databases;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// Which server a node calls: its own, or for a while the one that has summoned it because its own is gone. A summons is taken only while its own
/// server is silent, ends when the summoner is, and is never remembered over a restart.
/// </summary>
public sealed class ServerLine : IDisposable
{
    /// <summary>A server that answered within this time is not gone: nodes report twice a second.</summary>
    public static readonly TimeSpan AliveMax = TimeSpan.FromSeconds(3);

    /// <summary>A summoner that is silent for longer has ended: the node calls its own server again.</summary>
    private static readonly TimeSpan SummonerMax = TimeSpan.FromSeconds(5);

    private readonly TimeProvider _time;
    private readonly HttpClient _http;
    private readonly NodeClientOptions _options;
    private readonly Lock _gate = new();
    private Target _target;
    private long _homeHeardAt;

    public ServerLine(NodeClientOptions options, INetwork network, TimeProvider time)
    {
        (_options, _time) = (options, time);
        _http = new HttpClient(Network.Handler(network, options.AnswerMax)) { Timeout = Timeout.InfiniteTimeSpan };
        _target = new(options.Server, options.Token, null);
    }

    /// <summary>The server that is called now.</summary>
    public Uri Server => Current().Server;

    /// <summary>How long ago the node's own server last answered; null: never yet.</summary>
    public TimeSpan? Silence => Volatile.Read(ref _homeHeardAt) is var at and not 0 ? _time.GetElapsedTime(at) : null;

    /// <summary>From now on this server is called; the reason when it is not.</summary>
    public string? Summon(SummonAsk ask, string token)
    {
        if (!Uri.TryCreate(ask.Server, UriKind.Absolute, out var server) || server.Scheme is not ("http" or "https"))
            return $"'{ask.Server}' is no address of a server";
        Target before;
        lock (_gate)
        {
            if (_target.Summons != ask.Id && Silence < AliveMax)
                return string.Create(CultureInfo.InvariantCulture, $"its own server {_options.Server} answered {Silence?.TotalSeconds:0.0} s ago");
            if (_target.Summons == ask.Id && _target.Server == server)
                return null;
            if (_target.Summons is { } other && other != ask.Id && _time.GetElapsedTime(_target.HeardAt) < SummonerMax)
                return $"another server, at {_target.Server}, acts for its own already";
            before = _target;
            _target = new(server, token, ask.Id) { HeardAt = _time.GetTimestamp() };
        }
        before.Dispose(); // what waits for the former server waits no longer
        return null;
    }

    /// <summary>Posts to the server that is called now; gives up when the node is summoned elsewhere meanwhile.</summary>
    public async Task<HttpResponseMessage> PostAsync(string path, HttpContent content, CancellationToken cancel)
    {
        var target = Current();
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, target.Left);
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(target.Server, path)) { Content = content };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", target.Token);
        try
        {
            var answer = await _http.SendAsync(request, HttpCompletionOption.ResponseContentRead, either.Token);
            if (answer.IsSuccessStatusCode)
                Heard(target);
            return answer;
        }
        catch (OperationCanceledException) when (target.Left.IsCancellationRequested && !cancel.IsCancellationRequested)
        {
            throw new HttpRequestException($"{_options.Name} calls another server now.");
        }
    }

    public void Dispose()
    {
        _http.Dispose();
        _target.Dispose();
    }

    private void Heard(Target target)
    {
        target.HeardAt = _time.GetTimestamp();
        if (target.Summons is null)
            Volatile.Write(ref _homeHeardAt, target.HeardAt);
    }

    private Target Current()
    {
        lock (_gate)
        {
            if (_target.Summons is not null && _time.GetElapsedTime(_target.HeardAt) > SummonerMax)
            {
                _target.Dispose();
                _target = new(_options.Server, _options.Token, null);
            }
            return _target;
        }
    }

    private sealed class Target : IDisposable
    {
        private readonly CancellationTokenSource _left = new();
        private long _heardAt;

        public Target(Uri server, string token, string? summons) => (Server, Token, Summons, Left) = (server, token, summons, _left.Token);

        public Uri Server { get; }
        public string Token { get; }
        public string? Summons { get; }

        /// <summary>Ends when the node calls another; stays good after that.</summary>
        public CancellationToken Left { get; }

        public long HeardAt
        {
            get => Volatile.Read(ref _heardAt);
            set => Volatile.Write(ref _heardAt, value);
        }

        public void Dispose()
        {
            _left.Cancel();
            _left.Dispose();
        }
    }
}
