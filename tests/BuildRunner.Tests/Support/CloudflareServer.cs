using System.Net;
using System.Text.Json.Nodes;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Recovery.Dns;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Support;

/// <summary>
/// Stands for Cloudflare, which cannot be installed: the part of its API that is used, as its public documentation describes it (bearer tokens, zones,
/// listing with pages, one transaction for a batch of deletes, patches, puts and posts, its checks and error codes, 429 with Retry-After), and a name
/// server that answers what it holds. It shows that our requests are right by the documentation, and no more than that.
/// </summary>
internal sealed class CloudflareServer : IAsyncDisposable
{
    public const string Token = "cf-test-token-1234567890";
    public const string ReadOnlyToken = "cf-read-token-1234567890";
    public const string ZoneId = "023e105f4ecef8ad9ca31a8372d0c353";
    private const string ZoneName = "br.test";
    private readonly WebApplication _app;
    private readonly DnsListener _names;
    private readonly Lock _lock = new();
    private List<JsonObject> _records = [];
    private int _ids;

    private CloudflareServer()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        _app = builder.Build();
        _app.Run(ServeAsync);
        _names = DnsListener.Start(new(IPAddress.Loopback, 0), (query, from, tcp) => DnsResponder.Answer(Zone(), query.Span, from, tcp, _ => null, 0), TimeProvider.System, NullLogger.Instance);
    }

    public string Api => $"{_app.Urls.First()}/client/v4";
    public IPEndPoint Names => _names.EndPoint;

    /// <summary>Every request: method, path and, for a batch, its body.</summary>
    public List<string> Requests { get; } = [];

    /// <summary>When set, the next requests are answered with 429 and this header.</summary>
    public string? RetryAfter { get; set; }

    public static async Task<CloudflareServer> StartAsync()
    {
        var server = new CloudflareServer();
        await server._app.StartAsync(TestContext.Current.CancellationToken);
        return server;
    }

    /// <summary>Makes a record as somebody does it in the dashboard.</summary>
    public void Add(string type, string name, string content, string? comment = null, bool proxied = false)
    {
        lock (_lock)
            _records.Add(New(new JsonObject { ["type"] = type, ["name"] = name, ["content"] = content, ["ttl"] = 60, ["proxied"] = proxied, ["comment"] = comment }));
    }

    /// <summary>Changes the content of a name's first record in the dashboard.</summary>
    public void Change(string name, string content)
    {
        lock (_lock)
            _records.First(r => (string?)r["name"] == name)["content"] = content;
    }

    public IReadOnlyList<string> Held(string name)
    {
        lock (_lock)
            return [.. _records.Where(r => (string?)r["name"] == name).Select(r => $"{r["type"]} {r["content"]} {r["ttl"]} {r["comment"]}").Order(StringComparer.Ordinal)];
    }

    public async ValueTask DisposeAsync()
    {
        await _names.DisposeAsync();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    private async Task ServeAsync(HttpContext http)
    {
        var path = http.Request.Path.Value!;
        var body = http.Request.ContentLength > 0 ? await new StreamReader(http.Request.Body).ReadToEndAsync() : "";
        int status;
        JsonObject answer;
        lock (_lock)
        {
            Requests.Add($"{http.Request.Method} {path}{http.Request.QueryString}{(body.Length > 0 ? " " + body : "")}");
            (status, answer) = Serve(http, path, body);
        }
        http.Response.StatusCode = status;
        if (status == 429)
            http.Response.Headers.RetryAfter = RetryAfter;
        await http.Response.WriteAsJsonAsync(answer);
    }

    private (int, JsonObject) Serve(HttpContext http, string path, string body)
    {
        if (RetryAfter is not null)
            return Error(429, 10000, "Rate limited. Please wait and consider throttling your request speed");
        if (http.Request.Headers.Authorization.ToString() is not { } auth || !auth.StartsWith("Bearer ", StringComparison.Ordinal))
            return Error(400, 6003, "Invalid request headers");
        var token = auth["Bearer ".Length..];
        if (token is not (Token or ReadOnlyToken))
            return Error(403, 9109, "Invalid access token");
        if (path == "/client/v4/zones" && http.Request.Method == "GET")
            return Fine(http.Request.Query["name"] == ZoneName ? new JsonArray(new JsonObject { ["id"] = ZoneId, ["name"] = ZoneName, ["status"] = "active" }) : []);
        if (!path.StartsWith($"/client/v4/zones/{ZoneId}/dns_records", StringComparison.Ordinal))
            return Error(404, 7003, $"Could not route to {path}, perhaps your object identifier is invalid?");
        if (http.Request.Method == "GET" && path.EndsWith("/dns_records", StringComparison.Ordinal))
            return List(http.Request.Query);
        if (http.Request.Method != "POST" || !path.EndsWith("/dns_records/batch", StringComparison.Ordinal))
            return Error(405, 10000, "Method not allowed");
        return token == ReadOnlyToken ? Error(403, 10000, "Authentication error") : Batch(JsonNode.Parse(body)!.AsObject());
    }

    private (int, JsonObject) List(IQueryCollection query)
    {
        var (page, size) = (int.Parse(query["page"].FirstOrDefault() ?? "1"), int.Parse(query["per_page"].FirstOrDefault() ?? "100"));
        var found = _records.Where(r => (string?)r["name"] == query["name"]).ToList();
        var (status, answer) = Fine(new JsonArray([.. found.Skip((page - 1) * size).Take(size).Select(r => r.DeepClone())]));
        answer["result_info"] = new JsonObject { ["page"] = page, ["per_page"] = size, ["count"] = Math.Min(size, found.Count), ["total_count"] = found.Count, ["total_pages"] = (found.Count + size - 1) / size };
        return (status, answer);
    }

    /// <summary>All or nothing: the records become the new ones only when every operation was right.</summary>
    private (int, JsonObject) Batch(JsonObject batch)
    {
        var next = _records.Select(r => r.DeepClone().AsObject()).ToList();
        JsonObject? Find(JsonNode operation) => next.Find(r => (string?)r["id"] == (string?)operation["id"]);
        JsonArray Of(string name) => batch[name]?.AsArray() ?? [];
        if (Of("deletes").Count + Of("patches").Count + Of("puts").Count + Of("posts").Count is 0 or > 200)
            return Error(400, 9207, "Request body is invalid");
        foreach (var one in Of("deletes"))
        {
            if (Find(one!) is not { } record)
                return Error(404, 81044, "Record does not exist.");
            next.Remove(record);
        }
        foreach (var one in Of("patches"))
        {
            if (Find(one!) is not { } record)
                return Error(404, 81044, "Record does not exist.");
            foreach (var (key, value) in one!.AsObject())
                record[key] = value?.DeepClone();
        }
        foreach (var one in Of("posts"))
            next.Add(New(one!.DeepClone().AsObject()));
        foreach (var record in next)
        {
            if ((int?)record["ttl"] is not (1 or (>= 60 and <= 86400)))
                return Error(400, 9021, "Invalid TTL. Must be between 60 and 86,400 seconds, or 1 for Automatic.");
            if (((string?)record["comment"])?.Length > 100)
                return Error(400, 9208, "DNS record comment is too long.");
            if ((string?)record["type"] is "A" && !(IPAddress.TryParse((string?)record["content"], out var v4) && v4.GetAddressBytes().Length == 4))
                return Error(400, 9005, "Content for A record must be a valid IPv4 address.");
            var same = next.Where(r => r != record && (string?)r["name"] == (string?)record["name"]).ToList();
            if (same.Exists(r => (string?)r["type"] == (string?)record["type"] && (string?)r["content"] == (string?)record["content"]))
                return Error(400, 81058, "An identical record already exists.");
            if ((string?)record["type"] == "CNAME" && same.Count > 0)
                return Error(400, 81053, "An A, AAAA, or CNAME record with that host already exists.");
        }
        _records = next;
        return Fine(new JsonObject { ["deletes"] = new JsonArray(), ["patches"] = new JsonArray(), ["puts"] = new JsonArray(), ["posts"] = new JsonArray() });
    }

    private JsonObject New(JsonObject fields)
    {
        fields["id"] = string.Create(CultureInfo.InvariantCulture, $"{++_ids:x32}");
        return fields;
    }

    private DnsZone Zone()
    {
        lock (_lock)
        {
            return new()
            {
                Name = ZoneName, Serial = 1, NameServers = ["ns.br.test"], Choice = DnsChoice.All,
                Records = _records.GroupBy(r => (string)r["name"]!).ToDictionary(g => g.Key, g => DnsRecord.Of(g.Key, TimeSpan.FromSeconds((int)g.First()["ttl"]!), g.Select(r => (string)r["content"]!))),
            };
        }
    }

    private static (int, JsonObject) Fine(JsonNode result) => (200, new JsonObject { ["success"] = true, ["errors"] = new JsonArray(), ["messages"] = new JsonArray(), ["result"] = result });

    private static (int, JsonObject) Error(int status, int code, string message) =>
        (status, new JsonObject { ["success"] = false, ["errors"] = new JsonArray(new JsonObject { ["code"] = code, ["message"] = message }), ["messages"] = new JsonArray(), ["result"] = null });
}
