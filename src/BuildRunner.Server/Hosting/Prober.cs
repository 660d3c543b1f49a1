using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using BuildRunner.Client.Regions;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// Looks at targets at their intervals and remembers what it saw, by rise and fall counts. Used by gateways and by the server itself.
/// Bounds: one probe at a time and 64 latencies a target; ten seconds of passive counts a service; 1,000 targets.
/// </summary>
public sealed class Prober : IAsyncDisposable
{
    private const int TargetsMax = 1000;

    /// <summary>PostgreSQL's SSLRequest: eight bytes long, number 80877103.</summary>
    private static readonly byte[] SslRequest = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    private readonly INetwork _network;
    private readonly TimeProvider _time;
    private readonly HttpMessageInvoker _http;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private ImmutableDictionary<ProbeTarget, ProbeState> _states = ImmutableDictionary<ProbeTarget, ProbeState>.Empty;
    private ImmutableDictionary<(string Region, string Service), PassiveWindow> _passive = ImmutableDictionary<(string, string), PassiveWindow>.Empty;
    private static readonly HttpRequestOptionsKey<ConnectTime> ConnectTimeKey = new("buildrunner.connect-time");

    public Prober(INetwork network, TimeProvider time)
    {
        _network = network;
        _time = time;
        _http = new HttpMessageInvoker(new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            ConnectCallback = ConnectAsync,
            MaxConnectionsPerServer = 2,
            PooledConnectionIdleTimeout = TimeSpan.FromMinutes(1),
        });
    }

    /// <summary>Replaces the targets: new ones are looked at soon, removed ones are forgotten, kept ones go on with what they know.</summary>
    public void Update(IReadOnlyList<ProbeTarget> targets)
    {
        lock (_gate)
        {
            if (_stop.IsCancellationRequested)
                return;
            var wanted = targets.Take(TargetsMax).ToHashSet();
            if (wanted.Count == _states.Count && wanted.All(_states.ContainsKey))
                return;
            foreach (var gone in _states.Keys.Where(t => !wanted.Contains(t)).ToList())
            {
                _states[gone].Stop.Cancel();
                _states = _states.Remove(gone);
            }
            foreach (var added in wanted.Where(t => !_states.ContainsKey(t)))
            {
                var state = new ProbeState(added, CancellationTokenSource.CreateLinkedTokenSource(_stop.Token));
                _states = _states.Add(added, state);
                state.Loop = RunAsync(state);
            }
            var services = wanted.Select(t => (t.Region, t.Service)).ToHashSet();
            _passive = _passive.RemoveRange(_passive.Keys.Where(k => !services.Contains(k)));
            foreach (var key in services.Where(k => !_passive.ContainsKey(k)))
                _passive = _passive.Add(key, new PassiveWindow(_time));
        }
    }

    /// <summary>A user's request that went to a region's service, and whether it failed there. Services that are not probed are not counted.</summary>
    public void RecordPassive(string region, string service, bool failed)
    {
        if (_passive.TryGetValue((region, service), out var window))
            window.Record(failed);
    }

    /// <summary>One reading a region and service: up when any of its targets is up.</summary>
    public IReadOnlyList<TargetReading> Read()
    {
        var now = _time.GetTimestamp();
        var states = _states;
        var passive = _passive;
        return
        [
            .. states.Values
                .GroupBy(s => (s.Target.Region, s.Target.Service))
                .OrderBy(g => g.Key.Region, StringComparer.Ordinal).ThenBy(g => g.Key.Service, StringComparer.Ordinal)
                .Select(g => ProbeState.Merge([.. g], passive.GetValueOrDefault(g.Key)?.Read() ?? default, _time, now)),
        ];
    }

    /// <summary>Looks once at every target, now.</summary>
    public Task ProbeAllAsync(CancellationToken cancel) => Task.WhenAll(_states.Values.Select(s => ProbeAsync(s, cancel)));

    public async ValueTask DisposeAsync()
    {
        List<Task> loops;
        lock (_gate)
        {
            if (_stop.IsCancellationRequested)
                return;
            _stop.Cancel();
            loops = [.. _states.Values.Select(s => s.Loop)];
            _states = _states.Clear();
        }
        await Task.WhenAll(loops);
        _http.Dispose();
        _stop.Dispose();
    }

    private async Task RunAsync(ProbeState state)
    {
        // Spread over a tenth of the interval, so that observers do not knock in step.
        using var timer = new PeriodicTimer(Jitter(state.Target.Interval / 10, 0.01, 1), _time);
        try
        {
            while (await timer.WaitForNextTickAsync(state.Stop.Token))
            {
                await ProbeAsync(state, state.Stop.Token);
                var interval = state.IsRising ? state.Target.Interval / 4 : state.Target.Interval;
                timer.Period = Jitter(interval, 0.9, 1.1);
            }
        }
        catch (OperationCanceledException) { } // forgotten, or the process ends
        finally { state.Stop.Dispose(); }
    }

    private static TimeSpan Jitter(TimeSpan interval, double from, double to)
    {
        var jittered = interval * (from + (Random.Shared.NextDouble() * (to - from)));
        return jittered < TimeSpan.FromMilliseconds(1) ? TimeSpan.FromMilliseconds(1) : jittered;
    }

    private async Task ProbeAsync(ProbeState state, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using var timer = _time.CreateTimer(static l => { try { ((CancellationTokenSource)l!).Cancel(); } catch (ObjectDisposedException) { } }, limit, state.Target.Timeout, Timeout.InfiniteTimeSpan);
        var error = "";
        var latency = TimeSpan.Zero;
        try
        {
            (error, latency) = state.Target.Kind switch
            {
                ProbeKind.Tcp => ("", await KnockAsync(state.Target, limit.Token)),
                ProbeKind.Postgres => await GreetAsync(state.Target, limit.Token),
                _ => await AskAsync(state.Target, limit.Token),
            };
        }
        catch (Exception problem) // whatever went wrong is what was seen of the target
        {
            if (cancel.IsCancellationRequested)
                return;
            error = limit.IsCancellationRequested ? $"no answer within {state.Target.Timeout.TotalMilliseconds:0} ms" : Sentence(problem);
        }
        state.Record(error, latency, _time.GetUtcNow(), _time.GetTimestamp());
    }

    private async Task<TimeSpan> KnockAsync(ProbeTarget target, CancellationToken cancel)
    {
        var started = _time.GetTimestamp();
        var address = new Uri($"tcp://{target.Address}");
        using var socket = await DialAsync(address.Host, address.Port, cancel);
        return _time.GetElapsedTime(started);
    }

    /// <summary>
    /// Asks whether PostgreSQL would encrypt, and goes: the postmaster must begin a process to answer, so one that is frozen, and whose port the
    /// kernel still opens, is seen. Needs no role and leaves nothing in its log.
    /// </summary>
    private async Task<(string Error, TimeSpan Latency)> GreetAsync(ProbeTarget target, CancellationToken cancel)
    {
        var started = _time.GetTimestamp();
        var address = new Uri($"tcp://{target.Address}");
        using var socket = await DialAsync(address.Host, address.Port, cancel);
        await socket.SendAsync(SslRequest, cancel);
        var answer = new byte[1];
        var read = await socket.ReceiveAsync(answer, cancel);
        return read == 1 && answer[0] is (byte)'N' or (byte)'S'
            ? ("", _time.GetElapsedTime(started))
            : (read == 0 ? "closed without an answer" : "no PostgreSQL answered", TimeSpan.Zero);
    }

    private async Task<(string Error, TimeSpan Latency)> AskAsync(ProbeTarget target, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, target.Address);
        var connect = new ConnectTime();
        request.Options.Set(ConnectTimeKey, connect);
        request.Headers.TryAddWithoutValidation("User-Agent", "BuildRunner-Probe/1");
        var started = _time.GetTimestamp();
        using var answer = await _http.SendAsync(request, cancel);
        // Making a connection takes its own round trip, which users of a warm gateway do not pay.
        var latency = _time.GetElapsedTime(started) - connect.Taken;
        await answer.Content.LoadIntoBufferAsync(64 * 1024, cancel);
        return ((int)answer.StatusCode == target.ExpectedStatus ? "" : $"answered {(int)answer.StatusCode}, {target.ExpectedStatus} expected", latency);
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        var started = _time.GetTimestamp();
        var socket = await DialAsync(context.DnsEndPoint.Host, context.DnsEndPoint.Port, cancel);
        if (context.InitialRequestMessage.Options.TryGetValue(ConnectTimeKey, out var connect))
            connect.Taken = _time.GetElapsedTime(started);
        return new NetworkStream(socket, ownsSocket: true);
    }

    private async Task<Socket> DialAsync(string host, int port, CancellationToken cancel)
    {
        var end = _network.Map(host, port);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            if (IPAddress.TryParse(end.Host, out var address))
                await socket.ConnectAsync(new IPEndPoint(address, end.Port), cancel);
            else
                await socket.ConnectAsync(end.Host, end.Port, cancel);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static string Sentence(Exception problem) => (problem.GetBaseException() as SocketException)?.SocketErrorCode switch
    {
        SocketError.ConnectionRefused => "connection refused",
        SocketError.ConnectionReset => "connection reset",
        SocketError.HostUnreachable or SocketError.NetworkUnreachable => "no way there",
        SocketError.HostNotFound => "no such host",
        _ => problem.GetBaseException().Message.TrimEnd('.'),
    };

    private sealed class ConnectTime
    {
        public TimeSpan Taken { get; set; }
    }
}
