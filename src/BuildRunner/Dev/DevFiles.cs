using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using BuildRunner.Client.Access;
using BuildRunner.Server.Access;

namespace BuildRunner.Dev;

/// <summary>Makes the sandbox's folder: tokens and passwords once, mode 0600; addresses at each start.</summary>
internal static class DevFiles
{
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode PrivateFolder = Private | UnixFileMode.UserExecute;

    public static void MakeFolders(DevLayout layout)
    {
        foreach (var folder in new[] { layout.Data, layout.Logs, layout.Secrets, Path.GetDirectoryName(layout.NodeToken("any"))!, layout.FolderOf("server") }
                     .Concat(DevRegion.All.Select(layout.FolderOf)))
            Directory.CreateDirectory(folder, PrivateFolder);
        File.SetUnixFileMode(layout.Data, PrivateFolder);
    }

    /// <summary>Tokens of the person, the gateways and the agents, and the passwords of the databases: made at the first start and kept.</summary>
    public static void MakeSecrets(DevLayout layout)
    {
        var seeds = new List<SeedToken> { Seed("dev", AccessRole.Admin, null, Secret(layout.Token)) };
        foreach (var region in DevRegion.All)
        {
            seeds.Add(Seed($"gateway-{region.Code}", AccessRole.Gateway, region.Code, Secret(layout.NodeToken($"gateway-{region.Code}"))));
            seeds.Add(Seed($"agent-{region.Code}", AccessRole.Agent, region.Code, Secret(layout.NodeToken($"agent-{region.Code}"))));
        }
        Write(layout.SeedTokens, SeedToken.File(seeds));
        Secret(Path.Combine(layout.Secrets, "replication"));
        Secret(Path.Combine(layout.Secrets, "app"));
    }

    /// <summary>What people and scripts look up: `.br/endpoints.json`.</summary>
    public static void WriteEndpoints(DevLayout layout)
    {
        var gateways = new JsonObject();
        var databases = new JsonObject();
        foreach (var region in DevRegion.All)
        {
            gateways[region.Code] = layout.Gateway(region);
            if (region.HasDatabase)
                databases[region.Code] = $"{region.Host}:{layout.Database}";
        }
        var endpoints = new JsonObject
        {
            ["schema_version"] = 1,
            ["server"] = layout.Server,
            ["gateways"] = gateways,
            ["databases"] = databases,
            ["dns"] = layout.Dns,
            ["data"] = layout.Data,
            ["pid"] = Environment.ProcessId,
            ["port_offset"] = layout.PortOffset,
        };
        Write(layout.Endpoints, Encoding.UTF8.GetBytes(endpoints.ToJsonString(Cli.CliJson.Indented)));
    }

    /// <summary>Port offset and process of the last start, from its `endpoints.json`; null: none has been.</summary>
    public static (int PortOffset, int ProcessId)? ReadEndpoints(string data)
    {
        try
        {
            using var endpoints = JsonDocument.Parse(File.ReadAllText(new DevLayout(data, 0).Endpoints));
            return (endpoints.RootElement.GetProperty("port_offset").GetInt32(), endpoints.RootElement.GetProperty("pid").GetInt32());
        }
        catch (Exception error) when (error is IOException or JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return null;
        }
    }

    private static SeedToken Seed(string name, AccessRole role, string? region, string token) =>
        new() { Name = name, Role = role, Region = region, Hash = AccessToken.HashText(token) };

    private static string Secret(string file)
    {
        if (File.Exists(file) && File.ReadAllText(file).Trim() is { Length: > 0 } old)
            return old;
        var made = AccessToken.New();
        Write(file, Encoding.ASCII.GetBytes(made + "\n"));
        return made;
    }

    /// <summary>Written whole beside its place and renamed: a reader, or a start after a crash, sees the old or the new.</summary>
    private static void Write(string file, ReadOnlySpan<byte> bytes)
    {
        var draft = $"{file}.{Environment.ProcessId}";
        using (var stream = new FileStream(draft, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = Private }))
            stream.Write(bytes);
        File.Move(draft, file, overwrite: true);
    }
}
