using System.CommandLine;
using System.Diagnostics;
using BuildRunner.Core.Recovery;
using BuildRunner.Client;
using BuildRunner.Dev;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br dev`: the sandbox, and what breaks and mends it.</summary>
internal static class DevCommands
{
    private static readonly Option<string?> Data = new("--data") { Description = "Folder of the sandbox (default: BR_HOME, then .br here or in a folder above)", Recursive = true };
    private static readonly Option<bool> Detach = new("--detach", "-d") { Description = "Return when all is ready; `br dev stop` ends it" };
    private static readonly Option<bool> NoTraffic = new("--no-traffic") { Description = "No background visitors" };
    private static readonly Option<Wan> WanDelays = new("--wan") { Description = "Delays between regions: on or off", DefaultValueFactory = _ => Wan.On };
    private static readonly Option<bool> Sync = new("--sync") { Description = "Synchronous replication: a write waits for a copy (recovery.replication: synchronous)" };
    private static readonly Option<string> PortOffset = new("--port-offset") { Description = "Added to every port: a number, or auto for a free one", DefaultValueFactory = _ => "0" };
    private static readonly Option<string?> Policy = new("--policy") { Description = "Policy file (default: BR_POLICY, then governance/policy.yml)" };
    private static readonly Option<string?> GeoCity = new("--geo-city") { Description = "City database in MaxMind's format for the gateways" };
    private static readonly Option<bool> Supervise = new(Detached.SupervisorOption) { Hidden = true };

    private enum Wan
    {
        On,
        Off,
    }

    public static Command Build()
    {
        var dev = new Command("dev", "Runs four regions on this machine: real processes, real PostgreSQL replication, a sample application")
        {
            Data, Detach, NoTraffic, WanDelays, Sync, PortOffset, Policy, GeoCity, Supervise,
        };
        dev.Does(StartAsync);
        dev.Add(new Command("status", "Shows what of the sandbox runs").Does(StatusAsync));
        dev.Add(Stop());
        dev.Add(Restart());
        dev.Add(Fault("kill", "Ends a region's gateway, agent, guard, PostgreSQL and Shop with SIGKILL"));
        dev.Add(Partition());
        dev.Add(Freeze());
        dev.Add(Later("slow", "Makes a region slow"));
        dev.Add(Later("fail", "Makes a region fail"));
        dev.Add(Heal());
        return dev;
    }

    private static async Task<ExitCode> StartAsync(CliContext context)
    {
        var options = new DevOptions
        {
            Data = Folder(context),
            Traffic = !context.Parse.GetValue(NoTraffic),
            Sync = context.Parse.GetValue(Sync),
            Wan = context.Parse.GetValue(WanDelays) == Wan.On,
            PortOffset = Offset(context.Parse.GetValue(PortOffset)!),
            Policy = context.Parse.GetValue(Policy),
            GeoCity = context.Parse.GetValue(GeoCity) is { } city ? File.Exists(city) ? Path.GetFullPath(city) : throw new CliException(ExitCode.Usage, $"There is no city database at {city}.") : null,
        };
        if (context.Parse.GetValue(Supervise))
            return await Detached.SuperviseAsync(options, context.Cancel);

        var begun = Stopwatch.GetTimestamp();
        void Say(string line) => context.Talk.MarkupLineInterpolated($"[grey]{Stopwatch.GetElapsedTime(begun).TotalSeconds,5:0.0} s[/]  {line}");
        if (!context.Parse.GetValue(Detach))
            return await Sandbox.RunAsync(options, Say, (supervisor, cancel) => LiveView.RunAsync(context.Out, supervisor, cancel), context.Cancel);

        if (DevLock.IsHeld(new DevLayout(options.Data, 0)))
            throw Sandbox.Running(new DevLayout(options.Data, 0));
        string[] arguments = ["dev", .. Environment.GetCommandLineArgs().SkipWhile(a => a != "dev").Skip(1).Where(a => a is not ("--detach" or "-d")), "--data", options.Data];
        var code = await Detached.StartAsync(options, Deduplicated(arguments), Say, context.Cancel);
        if (code == ExitCode.Fine)
            Print(context, await SupervisorClient.StatusAsync(Layout(options.Data), context.Cancel));
        return code;
    }

    private static async Task<ExitCode> StatusAsync(CliContext context)
    {
        var layout = Layout(Folder(context));
        if (!DevLock.IsHeld(layout))
            throw new CliException(ExitCode.ServerUnreachable, $"No sandbox runs in {layout.Data}. Start one with `./br dev --detach`.");
        Print(context, await SupervisorClient.StatusAsync(layout, context.Cancel));
        return ExitCode.Fine;
    }

    private static Command Stop()
    {
        var what = new Argument<string?>("part") { Description = "`server` stops only the server", Arity = ArgumentArity.ZeroOrOne };
        var stop = new Command("stop", "Ends the sandbox and everything it started") { what };
        return stop.Does(async context =>
        {
            var layout = Layout(Folder(context));
            if (context.Parse.GetValue(what) is { } part)
            {
                if (part != "server")
                    throw new CliException(ExitCode.Usage, $"'{part}' cannot be stopped by itself; `br dev stop server` stops the server, `br dev kill REGION` ends a region, `br dev stop` all.");
                return await PostAsync(context, "/v1/server/stop");
            }
            if (!DevLock.IsHeld(layout))
            {
                await DevLock.EndLeftoversAsync(layout, line => context.Talk.WriteLine(line), context.Cancel);
                context.Talk.WriteLine($"No sandbox runs in {layout.Data}.");
                return ExitCode.Fine;
            }
            await SupervisorClient.PostAsync(layout, "/v1/stop", context.Cancel);
            var begun = Stopwatch.GetTimestamp();
            while (DevLock.IsHeld(layout))
            {
                if (Stopwatch.GetElapsedTime(begun) > TimeSpan.FromSeconds(30))
                    throw new CliException(ExitCode.TimedOut, $"The sandbox in {layout.Data} does not end; see {layout.Log("dev")}.");
                await Task.Delay(TimeSpan.FromMilliseconds(30), context.Cancel);
            }
            context.Talk.WriteLine("stopped");
            return ExitCode.Fine;
        });
    }

    private static Command Restart()
    {
        var what = new Argument<string>("part") { Description = "`server`" };
        what.AcceptOnlyFromAmong("server");
        var environment = new Option<string[]>("--env") { Description = "NAME=VALUE for this one start", AllowMultipleArgumentsPerToken = false };
        return new Command("restart", "Starts the sandbox's server again") { what, environment }.Does(context =>
            PostAsync(context, "/v1/server/restart", new ServerStart((context.Parse.GetValue(environment) ?? []).Select(Pair).ToDictionary())));
    }

    private static Command Fault(string verb, string description)
    {
        var region = Region();
        return new Command(verb, description) { region }.Does(context =>
            PostAsync(context, $"/v1/regions/{DevRegion.Find(context.Parse.GetValue(region)!).Code}/{verb}"));
    }

    private static Command Partition()
    {
        var region = Region();
        var silent = new Option<bool>("--silent") { Description = "Nothing answers, instead of refused connections" };
        var way = new Option<Silence?>("--one-way") { Description = "Only what comes in, or only what goes out, is lost in silence: in or out" };
        way.AcceptOnlyFromAmong("in", "out");
        var filter = new Option<bool>("--nftables") { Description = "Silence by the kernel, which drops packets (root), and not by the relays" };
        var limit = new Option<string?>("--for") { Description = "Open the links by itself after this time: 30s, 2m (default: `br dev heal` does)" };
        return new Command("partition", "Cuts a region's links to the other regions and to the server") { region, silent, way, filter, limit }.Does(context =>
        {
            var how = new List<string>();
            if (context.Parse.GetValue(filter))
                how.Add(context.Parse.GetValue(silent) || context.Parse.GetValue(way) is not null ? "filter=true" : throw new CliException(ExitCode.Usage, "--nftables drops packets: give --silent or --one-way with it."));
            if (context.Parse.GetValue(way) is { } only)
                how.Add($"way={only}");
            else if (context.Parse.GetValue(silent))
                how.Add("silent=true");
            if (context.Parse.GetValue(limit) is { } text)
            {
                how.Add(Core.Policy.Units.TryDuration(text, out var span, out var wrong, out var fix) && span > TimeSpan.Zero
                    ? string.Create(CultureInfo.InvariantCulture, $"seconds={span.TotalSeconds}")
                    : throw new CliException(ExitCode.Usage, $"--for {text}: {wrong} {fix}".Trim()));
            }
            return PostAsync(context, $"/v1/regions/{DevRegion.Find(context.Parse.GetValue(region)!).Code}/partition{(how.Count > 0 ? $"?{string.Join('&', how)}" : "")}");
        });
    }

    private static Command Freeze()
    {
        var region = RegionOrServer();
        var part = new Option<FaultPart[]>("--part") { Description = "agent, guard, postgres (its first process; sessions go on), database (guard and all of PostgreSQL) or region; may be given more than once (default: region)", AllowMultipleArgumentsPerToken = true };
        part.AcceptOnlyFromAmong("agent", "guard", "postgres", "database", "region");
        return new Command("freeze", "Stops processes of a region, or the server, without ending them (SIGSTOP); `br dev heal` thaws them") { region, part }.Does(context =>
        {
            if (context.Parse.GetValue(region) == Server)
                return PostAsync(context, "/v1/server/freeze");
            var parts = context.Parse.GetValue(part) is { Length: > 0 } given ? given : [FaultPart.Region];
            return PostAsync(context, $"/v1/regions/{DevRegion.Find(context.Parse.GetValue(region)!).Code}/freeze?{string.Join('&', parts.Select(p => $"part={p}"))}");
        });
    }

    private static Command Heal()
    {
        var region = RegionOrServer();
        return new Command("heal", "Mends a region, or the server: opens its links, thaws what is frozen, and starts what was ended") { region }.Does(context =>
            context.Parse.GetValue(region) == Server ? PostAsync(context, "/v1/server/heal") : PostAsync(context, $"/v1/regions/{DevRegion.Find(context.Parse.GetValue(region)!).Code}/heal"));
    }

    private static Command Later(string verb, string description) =>
        new Command(verb, $"{description} (comes with the room Performance)") { Region() }.Does(_ =>
            throw new CliException(ExitCode.Usage, $"`br dev {verb}` comes with the room Performance. What breaks a region today: `br dev kill REGION` and `br dev partition REGION`."));

    private const string Server = "server";

    private static Argument<string> RegionOrServer() => new("region") { Description = $"{string.Join(", ", DevRegion.All.Select(r => r.Code))}, or {Server}" };

    private static Argument<string> Region() => new("region") { Description = string.Join(", ", DevRegion.All.Select(r => r.Code)) };

    private static Task<ExitCode> PostAsync(CliContext context, string path) => PostAsync(context, path, new ServerStart(new Dictionary<string, string>()));

    private static async Task<ExitCode> PostAsync(CliContext context, string path, ServerStart body)
    {
        var layout = Layout(Folder(context));
        Done done;
        try { done = await SupervisorClient.PostAsync(layout, path, body, context.Cancel); }
        catch (ApiUnreachableException) { throw new CliException(ExitCode.ServerUnreachable, $"No sandbox runs in {layout.Data}. Start one with `./br dev --detach`."); }
        context.Print(done, DevJson.Default.Done, (console, d) => console.WriteLine(d.Summary));
        return ExitCode.Fine;
    }

    private static void Print(CliContext context, SandboxStatus status) => context.Print(status, DevJson.Default.SandboxStatus, (console, s) =>
    {
        var table = new Table().Border(TableBorder.Rounded).AddColumns("region", "power", "links", "gateway", "database");
        foreach (var region in s.Regions)
            table.AddRow(region.Code, region.Frozen ? "frozen" : region.Power.ToString().ToLowerInvariant(), region.Links, region.Gateway, region.Database ?? "");
        console.Write(table);
        foreach (var process in s.Processes.Where(p => p.ProcessId is null && s.Regions.FirstOrDefault(r => r.Code == p.Region) is not { Power: not RegionPower.On }))
            console.MarkupLineInterpolated($"[red]{process.Name} does not run[/]");
        console.MarkupLineInterpolated($"{s.State}: server and dashboard {s.Server}, token in {s.TokenFile}");
        console.MarkupLine("[grey]next: br status, br regions health --all, br dev kill us-east-1, br dev stop[/]");
    });

    /// <summary>Absolute; where the CLI looks for a server too, so that both find the same one.</summary>
    private static string Folder(CliContext context)
    {
        if (context.Parse.GetValue(Data) is { Length: > 0 } asked)
            return Path.TrimEndingDirectorySeparator(Path.GetFullPath(asked));
        return Path.TrimEndingDirectorySeparator(CliEndpoints.Find(null, null).Folder ?? Path.GetFullPath(Environment.GetEnvironmentVariable("BR_HOME") is { Length: > 0 } home ? home : ".br"));
    }

    private static DevLayout Layout(string data) => new(data, DevFiles.ReadEndpoints(data)?.PortOffset ?? 0);

    private static int? Offset(string text) => text == "auto" ? null
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var offset) && offset <= 50_000 ? offset
        : throw new CliException(ExitCode.Usage, $"'{text}' is no port offset; write a number from 0 to 50000, or auto.");

    private static KeyValuePair<string, string> Pair(string text) => text.Split('=', 2) is [var name, var value] && name.Length > 0
        ? new(name, value)
        : throw new CliException(ExitCode.Usage, $"'{text}' is no NAME=VALUE.");

    /// <summary>The last `--data` is the absolute one; an earlier one as the person wrote it goes.</summary>
    private static List<string> Deduplicated(string[] arguments)
    {
        var kept = new List<string>();
        for (var i = 0; i < arguments.Length; i++)
        {
            if (i < arguments.Length - 2 && arguments[i] == "--data")
                i++;
            else if (i >= arguments.Length - 2 || !arguments[i].StartsWith("--data=", StringComparison.Ordinal))
                kept.Add(arguments[i]);
        }
        return kept;
    }
}
