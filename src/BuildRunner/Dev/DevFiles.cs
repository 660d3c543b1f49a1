using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

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
        var seeds = new JsonArray { (JsonNode)Seed("dev", "admin", null, Secret(layout.Token)) };
        foreach (var region in DevRegion.All)
        {
            foreach (var role in new[] { "gateway", "agent" })
            {
                var node = $"{role}-{region.Code}";
                seeds.Add((JsonNode)Seed(node, role, region.Code, Secret(layout.NodeToken(node))));
            }
        }
        Write(layout.SeedTokens, new JsonObject { ["schema_version"] = 1, ["tokens"] = seeds }.ToJsonString(Cli.CliJson.Indented));
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
        Write(layout.Endpoints, new JsonObject
        {
            ["schema_version"] = 1,
            ["server"] = layout.Server,
            ["gateways"] = gateways,
            ["databases"] = databases,
            ["dns"] = layout.Dns,
            ["data"] = layout.Data,
            ["pid"] = Environment.ProcessId,
            ["port_offset"] = layout.PortOffset,
        }.ToJsonString(Cli.CliJson.Indented));
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

    private static JsonObject Seed(string id, string role, string? region, string token) => new()
    {
        ["id"] = id,
        ["role"] = role,
        ["region"] = region,
        ["sha256"] = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(token))),
    };

    private static string Secret(string file)
    {
        if (File.Exists(file) && File.ReadAllText(file).Trim() is { Length: > 0 } old)
            return old;
        var made = $"br_{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(24))}";
        Write(file, made + "\n");
        return made;
    }

    /// <summary>Written whole beside its place and renamed: a reader, or a start after a crash, sees the old or the new.</summary>
    private static void Write(string file, string text)
    {
        var draft = $"{file}.{Environment.ProcessId}";
        using (var stream = new FileStream(draft, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = Private }))
            stream.Write(Encoding.UTF8.GetBytes(text));
        File.Move(draft, file, overwrite: true);
    }
}
