using System.CommandLine;
using System.Net;
using System.Text;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Recovery;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Routing;
using BuildRunner.Dev;
using BuildRunner.Server.Access;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.BreakGlass;
using BuildRunner.Server.Recovery.Failover;
using BuildRunner.Server.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>
/// `br dr failover --without-server`: reads what the hosts have saved, shows what is known and what is not, asks for a typed confirmation, and then acts for
/// the server: the same rooms, runbook and actions over a store in a folder, called by the nodes that it summons.
/// </summary>
internal static class BreakGlassCommand
{
    public const string KeyVariable = "BR_KEY_FILE";
    public static readonly Option<bool> WithoutServer = new("--without-server") { Description = "The server is gone too: act for it from this host, with what the agents have saved" };
    public static readonly Option<string?> Key = new("--key") { Description = "File with the key: the agents' secret `replication` (default: BR_KEY_FILE, then .br/secrets/replication); only with --without-server", HelpName = "file" };
    public static readonly Option<string[]> Agents = new("--agent") { Description = "Door of an agent, as on the recovery sheet (default: those of the policy here); only with --without-server", HelpName = "host:port", Arity = ArgumentArity.ZeroOrMore };
    public static readonly Option<string?> Journal = new("--journal") { Description = "Folder of the journal (default: .br/break-glass); the same one takes up what was cut off; only with --without-server", HelpName = "folder" };
    public static readonly Option<string?> Listen = new("--listen") { Description = "Where the nodes call this host meanwhile (default: its address towards the target, and the server's port); only with --without-server", HelpName = "address:port" };
    public static readonly Option<bool> Insecure = new("--insecure-listen") { Description = "Consent to listen where other machines can reach it, without encryption; only with --without-server" };

    private const string DefaultReason = "the server is gone";
    private static readonly TimeSpan TooSoonMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan NodesMax = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ServerMax = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan HandOverMax = TimeSpan.FromSeconds(10);

    public static async Task<ExitCode> RunAsync(CliContext context, Wish wish)
    {
        var endpoints = CliEndpoints.Find(context.Parse.GetValue(CliContext.Server), context.Parse.GetValue(CliContext.TokenFile));
        await MustBeGoneAsync(endpoints.Server, context.Cancel);
        var secret = await ReadKeyAsync(context, endpoints);
        var network = Network.FromEnvironment();
        using var calls = new HouseCalls(secret, network);
        var folder = Path.GetFullPath(context.Parse.GetValue(Journal) ?? Path.Combine(endpoints.Folder ?? Path.GetDirectoryName(endpoints.TokenFile)!, "break-glass"));

        var cutOff = await CutOffAsync(folder, context.Cancel);
        var house = await SurveyAsync(context, calls, endpoints, wish, cutOff is not null);
        if (cutOff is not null)
            context.Talk.WriteLine($"{cutOff.Id} was cut off and goes on where its journal ends: {cutOff.Reason}");
        Show(context, house, calls.Fingerprint, folder);
        if (house.Plan.Problems.Count > 0)
            return Refused(context, house.Plan.Problems);
        if (wish.DryRun)
        {
            context.Talk.WriteLine("A dry run: nothing was changed, and nobody was told anything.");
            return ExitCode.Fine;
        }
        await ConfirmAsync(context, wish.Target);
        // The prompt may have stood for minutes, and somebody else may have acted meanwhile.
        var now = await SurveyAsync(context, calls, endpoints, wish, cutOff is not null);
        if (now.Plan.Problems.Count > 0)
            return Refused(context, now.Plan.Problems);
        if (cutOff is null && (now.Plan.Record?.Epoch, now.Plan.Record?.Primary, now.Plan.Record?.State, now.Plan.Token) != (house.Plan.Record?.Epoch, house.Plan.Record?.Primary, house.Plan.Record?.State, house.Plan.Token))
            return Refused(context, ["The hosts say something else than a moment ago: somebody acts too. Look again, and talk to each other."]);
        return await ActAsync(context, house, secret, calls, folder, endpoints, wish);
    }

    private static async Task<RunRecord?> CutOffAsync(string folder, CancellationToken cancel)
    {
        var file = Path.Combine(folder, StorageRoom.FileName);
        if (!File.Exists(file))
            return null;
        try
        {
            using var store = SqliteStore.Open(file, TimeProvider.System, NullLogger.Instance);
            return await StandInJournal.StartAsync(store, cancel) is null ? null : await StandInJournal.CutOffAsync(store, cancel);
        }
        catch (StoreException error) { throw new CliException(ExitCode.Failed, $"The journal cannot be used: {error.Message}"); }
    }

    /// <summary>What the command asks for.</summary>
    internal sealed record Wish(string Target, string Reason, string? AssumeFenced, bool AcceptDataLoss, bool DryRun, Func<CliContext, RunRecord, ExitCode> Ended, IReadOnlyDictionary<string, string> Inputs)
    {
        public static string ReasonOr(string? reason) => string.IsNullOrWhiteSpace(reason) ? DefaultReason : reason;
    }

    private sealed record House(IReadOnlyList<HostAnswer> Hosts, PolicyDocument Policy, string PolicyText, BreakGlassPlan Plan);

    private static async Task MustBeGoneAsync(Uri server, CancellationToken cancel)
    {
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false, ConnectTimeout = ServerMax }) { Timeout = ServerMax };
        try
        {
            using var answer = await http.GetAsync(new Uri(server, "/healthz"), cancel);
            throw new CliException(ExitCode.Refused, $"The server at {server} answers, so it is not gone: leave out --without-server. If it is broken for good, end its process first; two servers must not act at once.");
        }
        catch (HttpRequestException) { } // that is the case this is for
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { }
    }

    private static async Task<string> ReadKeyAsync(CliContext context, CliEndpoints endpoints)
    {
        var path = context.Parse.GetValue(Key) ?? (Environment.GetEnvironmentVariable(KeyVariable) is { Length: > 0 } named ? named : null)
            ?? (endpoints.Folder is { } folder ? Path.Combine(folder, "secrets", "replication") : null)
            ?? throw new CliException(ExitCode.Usage, $"Without the server the hosts believe only who holds the key: name its file with --key (or {KeyVariable}). It is the file `replication` in the folder of an agent's --secrets; the recovery sheet says where a copy lies.");
        try
        {
            var text = (await File.ReadAllTextAsync(path, context.Cancel)).Trim();
            return text.Length > 0 ? text : throw new CliException(ExitCode.Usage, $"The key {path} is empty.");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Usage, $"The key {path} cannot be read: {error.Message}");
        }
    }

    /// <summary>Asks until nothing but a moment's wait stands in the way, or something else does.</summary>
    private static async Task<House> SurveyAsync(CliContext context, HouseCalls calls, CliEndpoints endpoints, Wish wish, bool resumes)
    {
        var doors = Doors(context, endpoints);
        var from = TimeProvider.System.GetTimestamp();
        var said = false;
        while (true)
        {
            var house = await LookAsync(context, calls, endpoints, doors, wish, resumes);
            if (!house.Plan.OnlyTooSoon || TimeProvider.System.GetElapsedTime(from) > TooSoonMax)
                return house;
            if (!said)
                context.Talk.MarkupLine($"[yellow]{Markup.Escape(house.Plan.Problems[0])}[/] Looking again for {TooSoonMax.TotalSeconds:0} s.");
            said = true;
            await Task.Delay(Look, context.Cancel);
        }
    }

    private static async Task<House> LookAsync(CliContext context, HouseCalls calls, CliEndpoints endpoints, IReadOnlyList<PeerAddress> doors, Wish wish, bool resumes)
    {
        var hosts = new List<HostAnswer>(await Task.WhenAll(doors.Select(d => calls.ReadAsync(d, context.Cancel))));
        // Whoever answers knows the others' doors too.
        var known = hosts.Select(h => h.State?.Assignment?.House).OfType<HouseCopy>().SelectMany(h => h.Peers).DistinctBy(p => p.Region)
            .Where(p => hosts.TrueForAll(h => h.Agent.Region != p.Region && (h.Agent.Host, h.Agent.Port) != (p.Host, p.Port))).ToList();
        hosts.AddRange(await Task.WhenAll(known.Select(p => calls.ReadAsync(p, context.Cancel))));
        if (hosts.TrueForAll(h => h.State is null))
        {
            throw new CliException(ExitCode.Refused,
                $"No agent answered ({string.Join("; ", hosts.Select(h => $"{h.Agent.Host}:{h.Agent.Port}: {h.Error}"))}). Name one that lives with --agent HOST:PORT, as on the recovery sheet, and look at the key: its fingerprint is {calls.Fingerprint}.");
        }
        var (text, policy) = Policy(context, endpoints, hosts);
        // A region that has a database and whose agent nobody named has to be known, or to be missed.
        foreach (var region in policy.Regions.Where(r => r.DatabaseHost is not null && hosts.TrueForAll(h => h.Agent.Region != r.Code)))
        {
            var at = hosts.FindIndex(h => h.State is null && h.Agent.Region.Length == 0 && h.Agent.Host == region.DatabaseHost);
            if (at >= 0)
                hosts[at] = hosts[at] with { Agent = hosts[at].Agent with { Region = region.Code } };
            else
                hosts.Add(await calls.ReadAsync(new PeerAddress(region.Code, region.DatabaseHost!, region.DatabasePort + 1), context.Cancel));
        }
        var plan = BreakGlass.Decide([.. hosts.Select(h => h.Host)], new BreakGlassWish(wish.Target, wish.AssumeFenced, wish.AcceptDataLoss, PolicyPowerDriver.IsReady(policy.Recovery), resumes), DateTimeOffset.UtcNow);
        return new House(hosts, policy, text, plan);
    }

    /// <summary>The doors that were named, else those of the policy that is found here, else those of the sandbox.</summary>
    private static IReadOnlyList<PeerAddress> Doors(CliContext context, CliEndpoints endpoints)
    {
        if (context.Parse.GetValue(Agents) is { Length: > 0 } named)
            return [.. named.Select(Door)];
        if (endpoints.Folder is { } folder && DevFiles.ReadEndpoints(folder) is { } dev)
            return [.. DevRegion.All.Where(r => r.HasDatabase).Select(r => new PeerAddress(r.Code, r.Host, new DevLayout(folder, dev.PortOffset).Peer))];
        var file = PolicyOptions.Find(null);
        if (File.Exists(file) && PolicyFile.Bind(File.ReadAllBytes(file), file, PolicyFile.Environment()).Document is { } policy)
            return [.. policy.Regions.Where(r => r.DatabaseHost is not null).Select(r => new PeerAddress(r.Code, r.DatabaseHost!, r.DatabasePort + 1))];
        throw new CliException(ExitCode.Usage, "No policy is found here, so name the door of an agent that lives: --agent HOST:PORT, as on the recovery sheet. It knows the others.");
    }

    private static PeerAddress Door(string text) =>
        text.LastIndexOf(':') is > 0 and var colon && int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and < 65536
            ? new PeerAddress("", text[..colon].Trim('[', ']'), port)
            : throw new CliException(ExitCode.Usage, $"'{text}' is no agent's door; write it as 127.0.2.1:5434, the host and the port after PostgreSQL's.");

    /// <summary>The one that the hosts have saved, the newest of them.</summary>
    private static (string Text, PolicyDocument Document) Policy(CliContext context, CliEndpoints endpoints, IReadOnlyList<HostAnswer> hosts)
    {
        var newest = hosts.Select(h => h.State?.Assignment).Where(a => a?.House is not null).MaxBy(a => a!.Version)?.House
            ?? throw new CliException(ExitCode.Refused, "The agents that answered have saved no policy: they have not heard a server of this version yet, and cannot be led without it.");
        var binding = PolicyFile.Bind(Encoding.UTF8.GetBytes(newest.Policy), "the policy that the hosts have saved", new Dictionary<string, string>());
        if (binding.Document is not { } document)
            throw new CliException(ExitCode.Failed, $"The policy that the hosts have saved cannot be read by this version of br: {binding.Errors[0]}");
        // The sandbox's power switch is its supervisor, whose socket its own processes are told of.
        if (document.Recovery.PowerDriver == "supervisor" && Environment.GetEnvironmentVariable(UnixHttp.SupervisorVariable) is null or "" && endpoints.Folder is { } folder && File.Exists(new DevLayout(folder, 0).ControlSocket))
            Environment.SetEnvironmentVariable(UnixHttp.SupervisorVariable, new DevLayout(folder, 0).ControlSocket);
        return (newest.Policy, document);
    }

    private static void Show(CliContext context, House house, string fingerprint, string folder)
    {
        context.Talk.MarkupLine("[bold]Without the server.[/] What the hosts say and have saved:");
        foreach (var line in house.Plan.Known)
            context.Talk.WriteLine($"  {line}");
        context.Talk.MarkupLine("[bold]Not known:[/]");
        foreach (var line in house.Plan.Unknown.DefaultIfEmpty("nothing that this needs"))
            context.Talk.WriteLine($"  {line}");
        if (house.Policy.Recovery is { PowerDriver: "exec", PowerCommand: { Count: > 0 } command })
            context.Talk.MarkupLine($"[yellow]What the hosts have saved as power command runs here, as you:[/] {Markup.Escape(string.Join(' ', command))}");
        context.Talk.MarkupLine($"[grey]Key {fingerprint}; journal in {Markup.Escape(folder)}.[/]");
    }

    private static ExitCode Refused(CliContext context, IReadOnlyList<string> problems)
    {
        foreach (var problem in problems)
            context.Talk.MarkupLine($"[red]{Markup.Escape(problem)}[/]");
        Console.Error.WriteLine("br: Refused; nothing was changed.");
        return ExitCode.Refused;
    }

    private static async Task ConfirmAsync(CliContext context, string target)
    {
        if (context.Parse.GetValue(RecoveryCommands.Yes))
            return;
        context.Talk.Markup($"[bold]This makes {Markup.Escape(target)} the primary.[/] Type its name to go ahead: ");
        var typed = await Console.In.ReadLineAsync(context.Cancel);
        context.Talk.WriteLine();
        if (typed is null)
            throw new CliException(ExitCode.Usage, "Without the server a failover needs a typed confirmation. Where nobody can type: --yes.");
        if (typed.Trim() != target)
            throw new CliException(ExitCode.Refused, $"'{typed.Trim()}' is not {target}: not confirmed, and nothing was changed.");
    }

    private static async Task<ExitCode> ActAsync(CliContext context, House house, string secret, HouseCalls calls, string folder, CliEndpoints endpoints, Wish wish)
    {
        Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var listen = Where(context, house, endpoints, wish.Target);
        var server = new Uri($"http://{listen}");
        var start = await BeginAsync(context, house, calls, folder, server, wish);
        var operatorToken = AccessToken.New();
        WriteTokens(folder, start, calls, operatorToken);
        await using var app = ServerRole.Build(new ServerRoleOptions
        {
            DataFolder = folder,
            PolicyFile = Path.Combine(folder, "policy.yml"),
            Listen = listen,
            SeedTokens = Path.Combine(folder, "seed-tokens.json"),
            InsecureListen = context.Parse.GetValue(Insecure),
            LogToTerminal = false,
            StandIn = new StandInOptions { Id = start.Id, Server = server, Secret = secret, Agents = start.Agents, Gateways = start.Gateways, SeenToken = start.SeenToken },
        });
        try { await app.StartAsync(context.Cancel); }
        catch (IOException error) when (error.InnerException is Microsoft.AspNetCore.Connections.AddressInUseException)
        {
            throw new CliException(ExitCode.Failed, $"{listen} is taken by another process (`ss -ltnp` names it): a server that stands still has to be ended. Or choose another address that the nodes reach with --listen.");
        }
        using var interrupted = context.Cancel.Register(app.Lifetime.StopApplication);
        try
        {
            await GatherAsync(context, app, start, house, wish.Target);
            var api = ApiConnection.Create(server, operatorToken);
            var client = new RunbooksClient(api);
            var run = await FollowAsync(context, client, wish);
            await HandOverAsync(context, app, start);
            await app.StopAsync(CancellationToken.None);
            Farewell(context, folder, run);
            return wish.Ended(context, run);
        }
        catch (OperationCanceledException) when (context.Cancel.IsCancellationRequested)
        {
            context.Talk.MarkupLine($"[yellow]Cut off. What was begun stands in {Markup.Escape(folder)}: give the same command again and it goes on, or have the server adopt it: br server adopt {Markup.Escape(folder)}[/]");
            throw;
        }
    }

    /// <summary>The address by which the target's host is reached is one by which it reaches this one.</summary>
    private static IPEndPoint Where(CliContext context, House house, CliEndpoints endpoints, string target)
    {
        if (context.Parse.GetValue(Listen) is { } given)
            return ServerCommands.EndPointOf(given);
        var local = house.Hosts.FirstOrDefault(h => h.Agent.Region == target)?.Local ?? house.Hosts.Select(h => h.Local).First(l => l is not null)!;
        return new IPEndPoint(local.IsIPv4MappedToIPv6 ? local.MapToIPv4() : local, endpoints.Server.Port);
    }

    /// <summary>The journal that is there, or a new one that begins with what is known; summoned gateways bring the table that they serve by.</summary>
    private static async Task<StandInStart> BeginAsync(CliContext context, House house, HouseCalls calls, string folder, Uri server, Wish wish)
    {
        try
        {
            await PutAsideAsync(context, house, folder);
            using var store = SqliteStore.Open(Path.Combine(folder, StorageRoom.FileName), TimeProvider.System, NullLogger.Instance);
            if (await StandInJournal.StartAsync(store, context.Cancel) is { } before)
            {
                await StandInJournal.OpenAsync(store, context.Cancel);
                context.Talk.WriteLine($"Going on with what was begun at {before.At:yyyy-MM-dd HH:mm:ss} UTC by {before.By}.");
                return before;
            }
            if ((await store.ListAsync("", context.Cancel)).Count > 0 && await store.GetAsync(PolicyKeys.Current, context.Cancel) is not null)
                throw new CliException(ExitCode.Usage, $"{folder} holds the store of a server and no journal. Name another folder with --journal.");
            var id = Guid.NewGuid().ToString("N");
            var gateways = house.Policy.Regions.ToDictionary(r => r.Code, r => r.Endpoint);
            var ask = new SummonAsk(server.ToString(), id);
            var tables = await Task.WhenAll(gateways.Select(g => calls.SummonGatewayAsync(g.Key, g.Value, ask, context.Cancel)));
            var start = new StandInStart(
                id, Environment.MachineName, $"{Environment.UserName}@{Environment.MachineName}", DateTimeOffset.UtcNow, house.Plan.Record!.Database, house.Plan.Token,
                [.. house.Hosts.Where(h => h.Agent.Region.Length > 0).Select(h => h.Agent)], gateways, [.. house.Plan.Known, .. house.Plan.Unknown.Select(u => $"Not known: {u}")]);
            AtomicFile.Write(Path.Combine(folder, "policy.yml"), house.PolicyText);
            await StandInJournal.SeedAsync(store, start, house.Plan.Record!, tables.Select(t => t.Table).OfType<RoutingTable>().MaxBy(t => t.Version), context.Cancel);
            return start;
        }
        catch (StoreException error) { throw new CliException(ExitCode.Failed, $"The journal cannot be used: {error.Message}"); }
    }

    /// <summary>A journal that a server has adopted since is history: hosts obey nothing more of it.</summary>
    private static async Task PutAsideAsync(CliContext context, House house, string folder)
    {
        if (!File.Exists(Path.Combine(folder, StorageRoom.FileName)))
            return;
        StandInStart? before;
        using (var store = SqliteStore.Open(Path.Combine(folder, StorageRoom.FileName), TimeProvider.System, NullLogger.Instance))
        {
            before = await StandInJournal.StartAsync(store, context.Cancel);
            if (before is null || (!await StandInJournal.IsHandedOverAsync(store, context.Cancel) && await StandInJournal.TokenAsync(store, folder, context.Cancel) >= house.Plan.Token))
                return;
        }
        var aside = $"{folder}-{before.At.UtcDateTime.ToString("yyyyMMdd-HHmmss", System.Globalization.CultureInfo.InvariantCulture)}";
        Directory.Move(folder, aside);
        Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        context.Talk.WriteLine($"The journal of {before.At:yyyy-MM-dd HH:mm} UTC is history, a server has acted since; it is kept in {aside}.");
    }

    /// <summary>The nodes' tokens are made from the key by both ends; the operator's lives for this command only.</summary>
    private static void WriteTokens(string folder, StandInStart start, HouseCalls calls, string operatorToken)
    {
        var seeds = new List<SeedToken> { new() { Name = start.By, Role = AccessRole.Operator, Hash = AccessToken.HashText(operatorToken) } };
        seeds.AddRange(start.Agents.Select(a => new SeedToken { Name = $"agent-{a.Region}", Role = AccessRole.Agent, Region = a.Region, Hash = AccessToken.HashText(calls.AgentToken(start.Id, a.Region)) }));
        seeds.AddRange(start.Gateways.Keys.Select(g => new SeedToken { Name = $"gateway-{g}", Role = AccessRole.Gateway, Region = g, Hash = AccessToken.HashText(calls.GatewayToken(start.Id, g)) }));
        AtomicFile.Write(Path.Combine(folder, "seed-tokens.json"), SeedToken.File(seeds));
    }

    /// <summary>Waits until those that live have called in, and says who did not.</summary>
    private static async Task GatherAsync(CliContext context, WebApplication app, StandInStart start, House house, string target)
    {
        var reports = app.Services.GetRequiredService<INodeReports>();
        var live = house.Hosts.Where(h => h.State is not null).Select(h => h.Agent.Region).ToList();
        var said = app.Services.GetRequiredService<SummonLoop>().Said;
        // One that cannot be summoned is not waited for: its region may be the one that is lost.
        await reports.WaitAsync(seen => live.TrueForAll(r => seen.Agent(r) is not null) && start.Gateways.Keys.All(g => seen.Gateway(g) is not null || said.GetValueOrDefault($"gateway/{g}") is not null), NodesMax, context.Cancel);
        foreach (var gateway in start.Gateways.Keys.Where(g => reports.Gateway(g) is null))
            context.Talk.MarkupLine($"[yellow]The gateway of {Markup.Escape(gateway)} does not call in ({Markup.Escape(said.GetValueOrDefault($"gateway/{gateway}") ?? "it was summoned")}): until it does, it goes on with the table it has.[/]");
        if (reports.Agent(target) is null)
            throw new CliException(ExitCode.Failed, $"The agent of {target} answers, but does not call {app.Urls.First()} ({said.GetValueOrDefault($"agent/{target}") ?? "it was summoned and took it"}). Name an address of this host that it reaches with --listen; nothing was changed.");
        context.Talk.WriteLine($"Acting for the server at {app.Urls.First()}: {Callers(reports, start)}.");

        static string Callers(INodeReports reports, StandInStart start) =>
            string.Join(", ", start.Agents.Where(a => reports.Agent(a.Region) is not null).Select(a => $"agent {a.Region}").Concat(start.Gateways.Keys.Where(g => reports.Gateway(g) is not null).Select(g => $"gateway {g}")));
    }

    private static async Task<RunRecord> FollowAsync(CliContext context, RunbooksClient client, Wish wish)
    {
        var progress = new RunProgress(context, client);
        if ((await client.RunsAsync(context.Cancel)).Runs.FirstOrDefault(r => r.FinishedAt is null) is { } cut)
            return await progress.FollowAsync(cut.Id);
        var answer = await progress.StartAsync(new RunRequest { Runbook = FailoverRunbook.Name, Inputs = wish.Inputs, Reason = wish.Reason });
        return await progress.FollowAsync(answer.Run!.Id);
    }

    /// <summary>The hosts get what they need to go on without any server, and the journal is closed: from then on nothing is ordered or granted here.</summary>
    private static async Task HandOverAsync(CliContext context, WebApplication app, StandInStart start)
    {
        var (epochs, reports, lease) = (app.Services.GetRequiredService<Epochs>(), app.Services.GetRequiredService<INodeReports>(), app.Services.GetRequiredService<LeaderLease>());
        // A primary under a lease is carried by the promises of those that may be promoted: whoever cannot be reached could never give one.
        if (app.Services.GetRequiredService<IPolicySource>().Current.Recovery.Lease() is not null && await epochs.GetAsync(start.Database, context.Cancel) is { State: EpochState.Open } record)
        {
            var reachable = start.Agents.Where(a => reports.Agent(a.Region) is not null).Select(a => a.Region).ToList();
            if (await epochs.MoveAsync(start.Database, r => EpochTransitions.Narrow(r, reachable, DateTimeOffset.UtcNow), lease.Current, context.Cancel) is EpochWrite.Done { Record: var left })
            {
                app.Services.GetRequiredService<AssignmentLoop>().Wake();
                await app.Services.GetRequiredService<HandOver>().TakenAsync(left, HandOverMax, context.Cancel);
            }
        }
        await StandInJournal.CloseAsync(app.Services.GetRequiredService<IStore>(), DateTimeOffset.UtcNow, CancellationToken.None);
    }

    private static void Farewell(CliContext context, string folder, RunRecord run)
    {
        context.Talk.MarkupLine($"The nodes go on with what they have; {Markup.Escape(run.Id)} stands in {Markup.Escape(folder)}.");
        context.Talk.MarkupLine($"[bold]When the server is back, it only reads until it knows of this. On this host:[/] br server adopt {Markup.Escape(folder)}");
    }
}
