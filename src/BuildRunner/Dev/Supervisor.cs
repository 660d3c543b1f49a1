using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Dev;

/// <summary>Starts the sandbox's processes, keeps them, breaks and mends regions, and ends all it started.</summary>
internal sealed class Supervisor : IAsyncDisposable
{
    private static readonly TimeSpan StopMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan KillMax = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan HeadStartMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan AgentsFirst = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan HeadStartPace = TimeSpan.FromMilliseconds(25);

    private readonly DevLayout _layout;
    private readonly Lifeline _lifeline;
    private readonly RelayBoard _relays;
    private readonly List<Child> _children;
    private readonly SemaphoreSlim _turn = new(1);
    private readonly Dictionary<string, (RegionPower Power, int Offs)> _power = DevRegion.All.ToDictionary(r => r.Code, _ => (RegionPower.On, 0));
    private readonly HashSet<string> _frozen = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Cut> _cuts = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource _stopAsked = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Supervisor(DevLayout layout, DevOptions options)
    {
        _layout = layout;
        _lifeline = new Lifeline(layout.LifelineSocket);
        _relays = new RelayBoard(layout, options.Wan);
        var program = Environment.ProcessPath ?? throw new InvalidOperationException("This process does not know its own program.");
        _children = [.. DevPlans.Of(layout, options).Select(plan => new Child(plan, program))];
    }

    public DevLayout Layout => _layout;
    public IReadOnlyList<Child> Children => _children;

    /// <summary>`starting`, `ready` or `stopping`.</summary>
    public string State { get; set; } = "starting";

    /// <summary>Done when someone asked for the end.</summary>
    public Task StopAsked => _stopAsked.Task;

    public void AskToStop() => _stopAsked.TrySetResult();

    /// <summary>
    /// Starts everything, what others wait for first: the server; when it listens, the agents whose databases need its word; a moment later the rest.
    /// On a machine of two cores all at once would delay what all wait for. Each wait has a limit, so that everything is started in any case.
    /// </summary>
    public async Task StartAllAsync(CancellationToken cancel)
    {
        var agents = _children.Where(c => c.Plan.Region is { HasDatabase: true } && c.Plan.Name.StartsWith("agent-", StringComparison.Ordinal)).ToList();
        Server.Start();
        await ServerListensAsync(cancel);
        await StartAsync(agents, cancel);
        await Task.Delay(AgentsFirst, cancel);
        await StartAsync(_children.Except(agents).Where(c => c != Server), cancel);
    }

    /// <summary>In turn with commands, and only those whose region is on: one that was killed meanwhile stays dead.</summary>
    private async Task StartAsync(IEnumerable<Child> children, CancellationToken cancel)
    {
        await _turn.WaitAsync(cancel);
        try
        {
            foreach (var child in children.Where(c => c.Plan.Region is { } region && _power[region.Code].Power == RegionPower.On))
                child.Start();
        }
        finally { _turn.Release(); }
    }

    public SandboxStatus Status() => new()
    {
        State = State,
        ProcessId = Environment.ProcessId,
        Data = _layout.Data,
        Server = _layout.Server,
        Dns = _layout.Dns,
        TokenFile = _layout.Token,
        Regions = [.. DevRegion.All.Select(r => new SandboxRegion
        {
            Code = r.Code,
            Gateway = _layout.Gateway(r),
            Database = r.HasDatabase ? $"{r.Host}:{_layout.Database}" : null,
            Power = _power[r.Code].Power,
            Links = (_cuts.GetValueOrDefault(r.Code)?.Filtered ?? _relays.OneWayOf(r)) switch { Silence.In => "silent_in", Silence.Out => "silent_out", Silence.Both => "silent", _ => Word(_relays.StateOf(r)) },
            Frozen = _frozen.Contains(r.Code),
            PowerOffs = _power[r.Code].Offs,
        })],
        Processes = [.. _children.Select(c => new SandboxProcess(c.Plan.Name, c.Plan.Region?.Code, c.ProcessId, c.Restarts))],
    };

    /// <summary>Ends everything of a region at once, with SIGKILL.</summary>
    public Task<Done> KillAsync(DevRegion region) => InTurnAsync(async () =>
    {
        var killed = await EndRegionAsync(region);
        if (_power[region.Code].Power == RegionPower.On)
            _power[region.Code] = _power[region.Code] with { Power = RegionPower.Killed };
        return new Done(killed == 0 ? $"{region.Code} was dead already" : $"{region.Code}: {killed} processes killed");
    });

    /// <summary>The power switch: afterwards the region runs nothing and is not started again until it is mended.</summary>
    public Task<PowerOff> PowerOffAsync(DevRegion region) => InTurnAsync(async () =>
    {
        var (power, offs) = _power[region.Code];
        var effect = power != RegionPower.Off;
        var killed = await EndRegionAsync(region);
        _power[region.Code] = (RegionPower.Off, effect ? offs + 1 : offs);
        return new PowerOff
        {
            Region = region.Code,
            Off = true,
            Effect = effect,
            Killed = killed,
            Evidence = $"{killed} processes ended now{(power == RegionPower.Killed ? ", the others before" : "")}; none is left that bears {region.Code}'s mark or works in its folders; none will be started until it is healed",
        };
    });

    /// <param name="region">The region.</param>
    /// <param name="silent">Nothing answers; else connections are refused.</param>
    /// <param name="way">Which way it is silent.</param>
    /// <param name="limit">After this the links open by themselves, whoever asked for the cut; null: when somebody mends the region.</param>
    /// <param name="by">Who cuts: only the same opens the links by <see cref="ConnectAsync"/>; null: a person.</param>
    /// <param name="filter">Silence is made by the kernel, which drops packets, and not by the relays, which answer for their ends.</param>
    public Task<Done> PartitionAsync(DevRegion region, bool silent, Silence way, TimeSpan? limit = null, string? by = null, bool filter = false) => InTurnAsync(() =>
    {
        if (filter && PacketFilter.WhyNot() is { } why)
            throw new InvalidOperationException($"Packets cannot be filtered here: {why}. Without --nftables the relays keep silent.");
        if (by is not null && _cuts.GetValueOrDefault(region.Code) is { By: var other } && other != by)
            throw new InvalidOperationException($"{region.Code} is cut off by {other ?? "a person"} already.");
        EndCut(region);
        _relays.Set(region, LinkState.Open);
        if (filter)
            PacketFilter.Cut(region, way, _relays.Of(region), limit ?? PacketFilter.LimitMax);
        else
            _relays.Set(region, silent ? LinkState.Silent : LinkState.Refusing, way);
        var cut = new Cut(by, filter ? way : null);
        _cuts[region.Code] = cut;
        if ((limit ?? (filter ? PacketFilter.LimitMax : null)) is { } most)
            cut.Limit = new Timer(_ => Connect(region, cut), null, most, Timeout.InfiniteTimeSpan);
        return Task.FromResult(new Done(way switch
        {
            Silence.In => $"nothing reaches {region.Code} from the other regions and the server; what it sends arrives",
            Silence.Out => $"nothing that {region.Code} sends reaches the other regions and the server",
            _ => $"{region.Code} is cut off from the other regions and the server ({(silent ? "silence" : "connections refused")})",
        }));
    });

    /// <summary>Opens the links that the same cut; fine when they are open.</summary>
    public Task<Done> ConnectAsync(DevRegion region, string by) => InTurnAsync(() =>
    {
        if (_cuts.GetValueOrDefault(region.Code) is not { } cut || cut.By != by)
            return Task.FromResult(new Done($"{region.Code} is not cut off by {by}"));
        EndCut(region);
        _relays.Set(region, LinkState.Open);
        return Task.FromResult(new Done($"{region.Code} is connected again"));
    });

    /// <summary>A cut has reached its limit; nothing happens when it is mended by then, or another is in its place.</summary>
    private void Connect(DevRegion region, Cut cut)
    {
        if (!_turn.Wait(StopMax))
            return; // the sandbox ends
        try
        {
            if (State == "stopping" || _cuts.GetValueOrDefault(region.Code) != cut)
                return;
            EndCut(region);
            _relays.Set(region, LinkState.Open);
        }
        finally { _turn.Release(); }
    }

    private void EndCut(DevRegion region)
    {
        if (!_cuts.TryRemove(region.Code, out var cut))
            return;
        cut.Limit?.Dispose();
        if (cut.Filtered is not null)
            PacketFilter.Mend(region);
    }

    private sealed class Cut(string? by, Silence? filtered)
    {
        public string? By => by;

        /// <summary>Which way the kernel drops packets; null: it does not.</summary>
        public Silence? Filtered => filtered;

        public Timer? Limit { get; set; }
    }

    /// <summary>Freezes parts of a region (SIGSTOP); <see cref="HealAsync"/> thaws them.</summary>
    public Task<Done> FreezeAsync(DevRegion region, IReadOnlyCollection<FaultPart> parts) => InTurnAsync(() =>
    {
        var rows = Of(region);
        var chosen = rows.Where(row => parts.Any(part => IsPart(row, rows, part))).ToList();
        if (chosen.Count == 0)
            throw new InvalidOperationException($"{region.Code} runs nothing of {string.Join(", ", parts).ToLowerInvariant()} now; `br dev heal {region.Code}` starts it.");
        // Together: what is frozen later must not see the rest as frozen for long.
        foreach (var row in chosen)
            ProcessTable.Freeze(row.Id);
        _frozen.Add(region.Code);
        return Task.FromResult(new Done($"{region.Code}: {string.Join(", ", parts).ToLowerInvariant()} frozen ({chosen.Count} processes)"));
    });

    public Task<Done> FreezeServerAsync() => InTurnAsync(() =>
    {
        if (Server.ProcessId is not { } id)
            throw new InvalidOperationException("The server does not run; `br dev restart server` starts it.");
        ProcessTable.Freeze(id);
        return Task.FromResult(new Done("the server is frozen; `br dev heal server` thaws it"));
    });

    public Task<Done> HealServerAsync() => InTurnAsync(() =>
    {
        if (Server.ProcessId is { } id)
            ProcessTable.Thaw(id);
        else
            Server.Start();
        return Task.FromResult(new Done("the server runs"));
    });

    /// <summary>Of PostgreSQL only its first process: its sessions go on, which is what makes it the worst of them.</summary>
    private static bool IsPart(ProcessRow row, IReadOnlyList<ProcessRow> all, FaultPart part) => part switch
    {
        FaultPart.Region => true,
        FaultPart.Postgres => row.Name == "postgres" && all.All(p => p.Id != row.Parent || p.Name != "postgres"),
        FaultPart.Database => row.Name == "postgres" || ProcessTable.RoleOf(row.Id) == "guard",
        FaultPart.Guard => ProcessTable.RoleOf(row.Id) == "guard",
        _ => ProcessTable.RoleOf(row.Id) == "agent",
    };

    /// <summary>Opens its links and starts what does not run.</summary>
    public Task<Done> HealAsync(DevRegion region) => InTurnAsync(() =>
    {
        var (power, offs) = _power[region.Code];
        var links = _cuts.GetValueOrDefault(region.Code) is { Filtered: not null } ? LinkState.Silent : _relays.StateOf(region);
        var frozen = _frozen.Remove(region.Code);
        EndCut(region);
        _relays.Set(region, LinkState.Open);
        if (frozen)
            Thaw(region);
        _power[region.Code] = (RegionPower.On, offs);
        foreach (var child in _children.Where(c => c.Plan.Region == region))
            child.Start();
        return Task.FromResult(new Done((power, links) switch
        {
            (RegionPower.On, _) when frozen => $"{region.Code} is thawed",
            (RegionPower.On, LinkState.Open) => $"{region.Code} was well already",
            (RegionPower.On, _) => $"{region.Code} is connected again",
            _ => $"{region.Code} is started again",
        }));
    });

    public Task<Done> StopServerAsync() => InTurnAsync(async () =>
    {
        await EndChildAsync(Server);
        return new Done("the server is stopped; `br dev restart server` starts it");
    });

    /// <summary>Ends the server if it runs, and starts it, for this once with more environment.</summary>
    public Task<Done> RestartServerAsync(IReadOnlyDictionary<string, string> environment) => InTurnAsync(async () =>
    {
        await EndChildAsync(Server);
        Server.Start(environment);
        return new Done("the server is started again");
    });

    /// <summary>Asks first, then insists. Nothing of the sandbox is left afterwards.</summary>
    private async Task EndAllAsync()
    {
        State = "stopping";
        await _turn.WaitAsync(); // and never given back: nobody acts on a sandbox that ends
        foreach (var child in _children)
            child.LetGo();
        if (Server.ProcessId is { } server)
            ProcessTable.Thaw(server);
        foreach (var region in DevRegion.All.Where(r => _frozen.Contains(r.Code)))
            Thaw(region);
        _lifeline.Dispose();
        var begun = Stopwatch.GetTimestamp();
        while (DevLock.Leftovers(_layout) is { Count: > 0 } left && Stopwatch.GetElapsedTime(begun) < StopMax + KillMax)
        {
            if (Stopwatch.GetElapsedTime(begun) > StopMax)
            {
                foreach (var process in left)
                    ProcessTable.Kill(process.Id);
            }
            await Task.Delay(TimeSpan.FromMilliseconds(30));
        }
    }

    public async ValueTask DisposeAsync()
    {
        await EndAllAsync();
        foreach (var region in DevRegion.All)
            EndCut(region);
        _relays.Dispose();
        foreach (var child in _children)
            child.Dispose();
        _turn.Dispose();
    }

    private async Task ServerListensAsync(CancellationToken cancel)
    {
        var begun = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(HeadStartPace);
        while (Stopwatch.GetElapsedTime(begun) < HeadStartMax && ListeningPorts.Holder(ListeningPorts.Read(), IPAddress.Loopback, _layout.ServerListen) is null)
            await pace.WaitForNextTickAsync(cancel);
    }

    private Child Server => _children.Single(c => c.Plan.Name == "server");

    private static string Word(LinkState state) => state switch { LinkState.Open => "open", LinkState.Refusing => "refusing", _ => "silent" };

    private void Thaw(DevRegion region)
    {
        foreach (var row in Of(region))
            ProcessTable.Thaw(row.Id);
    }

    private static async Task EndChildAsync(Child child)
    {
        child.LetGo();
        if (child.ProcessId is { } frozen)
            ProcessTable.Thaw(frozen); // a frozen one hears nothing
        if (await child.EndedAsync(StopMax) || child.ProcessId is not { } left)
            return;
        ProcessTable.Kill(left);
        await child.EndedAsync(KillMax);
    }

    /// <summary>SIGKILL to all of a region, again until none is left; returns how many there were.</summary>
    private async Task<int> EndRegionAsync(DevRegion region)
    {
        foreach (var child in _children.Where(c => c.Plan.Region == region))
            child.Unwant();
        var killed = new HashSet<int>();
        var begun = Stopwatch.GetTimestamp();
        for (var left = Of(region); left.Count > 0; left = Of(region))
        {
            foreach (var process in left)
            {
                killed.Add(process.Id);
                ProcessTable.Kill(process.Id);
            }
            if (Stopwatch.GetElapsedTime(begun) > KillMax)
                throw new InvalidOperationException($"{region.Code} does not end: {string.Join(", ", left.Select(p => $"{p.Id} ({p.Name})"))} is left.");
            await Task.Delay(TimeSpan.FromMilliseconds(5));
        }
        foreach (var child in _children.Where(c => c.Plan.Region == region))
            await child.EndedAsync(KillMax); // a start that follows must not take a process that is just ending for a running one
        return killed.Count;
    }

    private IReadOnlyList<ProcessRow> Of(DevRegion region) =>
        ProcessTable.Belonging(_layout.MarkOf(region.Code), DevLock.Folders(_layout, [_layout.FolderOf(region)]));

    private async Task<T> InTurnAsync<T>(Func<Task<T>> act)
    {
        await _turn.WaitAsync();
        try
        {
            return State == "stopping" ? throw new InvalidOperationException("The sandbox is stopping.") : await act();
        }
        finally { _turn.Release(); }
    }
}
