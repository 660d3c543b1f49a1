namespace BuildRunner.Dev;

/// <summary>What the sandbox starts, and how: one server, and for each region a gateway and an agent, which starts the rest.</summary>
internal static class DevPlans
{
    /// <summary>
    /// Settings of the runtime for thirty processes on a small machine: no code is measured to be compiled again, no heap is kept for threads that are
    /// not there, idle pool threads sleep at once (spinning took half of two cores), and no socket is left behind in /tmp.
    /// </summary>
    public static readonly IReadOnlyDictionary<string, string> Small = new Dictionary<string, string>
    {
        ["DOTNET_TieredPGO"] = "0",
        ["DOTNET_TC_CallCountingDelayMs"] = "1000",
        ["DOTNET_gcConcurrent"] = "0",
        ["DOTNET_ThreadPool_UnfairSemaphoreSpinLimit"] = "0",
        ["DOTNET_EnableDiagnostics_IPC"] = "0",
    };

    public static IReadOnlyList<ChildPlan> Of(DevLayout layout, DevOptions options) =>
        [Server(layout, options), .. DevRegion.All.Select(r => Agent(layout, r)), .. DevRegion.All.Select(r => Gateway(layout, r, options.GeoCity))];

    /// <summary>The policy that the server reads: the one asked for, BR_POLICY, the one here, the shipped one.</summary>
    public static string Policy(DevOptions options)
    {
        var asked = options.Policy ?? Environment.GetEnvironmentVariable("BR_POLICY");
        if (!string.IsNullOrEmpty(asked))
            return File.Exists(asked) ? Path.GetFullPath(asked) : throw new Cli.CliException(Cli.ExitCode.Usage, $"There is no policy at {asked}.");
        string[] places = [Path.Combine(Environment.CurrentDirectory, "governance/policy.yml"), .. Above(AppContext.BaseDirectory).Select(f => Path.Combine(f, "governance/policy.yml"))];
        return places.FirstOrDefault(File.Exists)
            ?? throw new Cli.CliException(Cli.ExitCode.Usage, "No policy found: name one with --policy or BR_POLICY, or start in a folder that has governance/policy.yml.");
    }

    private static ChildPlan Server(DevLayout layout, DevOptions options)
    {
        var environment = Common(layout, "server", DevRegion.ServerNumber);
        if (options.Sync)
            environment["BR_REPLICATION"] = "synchronous";
        environment["BR_PORT_OFFSET"] = layout.PortOffset.ToString(CultureInfo.InvariantCulture);
        return new()
        {
            Name = "server",
            Region = null,
            Folder = layout.FolderOf("server"),
            Log = layout.Log("server"),
            Environment = environment,
            Arguments =
            [
                "server", "--watch-stdin", "--data", layout.FolderOf("server"), "--policy", Policy(options),
                "--listen", $"127.0.0.1:{layout.ServerListen}", "--seed-tokens", layout.SeedTokens,
            ],
        };
    }

    private static ChildPlan Gateway(DevLayout layout, DevRegion region, string? city) => Node(layout, region, "gateway",
        ["--listen", layout.GatewayListen(region), .. city is null ? (string[])[] : ["--geo-city", city]]);

    private static ChildPlan Agent(DevLayout layout, DevRegion region) => Node(layout, region, "agent",
        region.HasDatabase
            ? ["--host", region.Host, "--database-port", layout.Database.ToString(CultureInfo.InvariantCulture), "--secrets", layout.Secrets]
            : ["--host", region.Host, "--secrets", layout.Secrets]);

    private static ChildPlan Node(DevLayout layout, DevRegion region, string role, string[] more)
    {
        var name = $"{role}-{region.Code}";
        return new()
        {
            Name = name,
            Region = region,
            Folder = layout.FolderOf(region),
            Log = layout.Log(name),
            Environment = Common(layout, region.Code, region.Number),
            Arguments =
            [
                role, "--watch-stdin", "--region", region.Code, "--data", Path.Combine(layout.FolderOf(region), role),
                "--server", layout.Server, "--token-file", layout.NodeToken(name), .. more,
            ],
        };
    }

    private static Dictionary<string, string> Common(DevLayout layout, string part, int viewer) => new(Small)
    {
        [DevLayout.Mark] = layout.MarkOf(part),
        ["BR_VIEWER"] = viewer.ToString(CultureInfo.InvariantCulture),
        ["BR_LIFELINE"] = layout.LifelineSocket,
        ["BR_SUPERVISOR"] = layout.ControlSocket,
        // The applications lie beside br.
        ["PATH"] = $"{AppContext.BaseDirectory.TrimEnd('/')}:{Environment.GetEnvironmentVariable("PATH")}",
    };

    private static IEnumerable<string> Above(string folder)
    {
        for (var at = new DirectoryInfo(folder); at is not null; at = at.Parent)
            yield return at.FullName;
    }
}
