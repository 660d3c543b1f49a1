using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent.Patroni;

/// <summary>
/// Patroni's REST API: reads a cluster, and changes its dynamic configuration. Whoever may change it is named in the file `patroni` of the agent's secrets
/// (`user:password`), where Patroni asks for that.
/// </summary>
internal sealed class PatroniApi : IDisposable
{
    private const string PasswordFile = "patroni";
    private static readonly TimeSpan AnswerMax = TimeSpan.FromSeconds(2);
    private readonly HttpClient _http;
    private readonly string? _secrets;

    public PatroniApi(AgentOptions options, INetwork network)
    {
        _secrets = options.SecretsFolder;
        _http = new HttpClient(Network.Handler(network, AnswerMax)) { Timeout = Timeout.InfiniteTimeSpan };
    }

    public void Dispose() => _http.Dispose();

    /// <summary>The cluster by the first address that answers; null: none does.</summary>
    public async Task<PatroniCluster?> ReadAsync(IReadOnlyList<string> addresses, CancellationToken cancel)
    {
        foreach (var address in addresses)
        {
            var at = new Uri(address.TrimEnd('/') + "/");
            if (await GetAsync(new Uri(at, "cluster"), cancel) is not { } list || await GetAsync(new Uri(at, "config"), cancel) is not { } config)
                continue;
            var members = list["members"]?.AsArray().OfType<JsonObject>().Where(m => m["api_url"] is not null) ?? [];
            return new PatroniCluster([.. await Task.WhenAll(members.Select(m => ReadMemberAsync(m, cancel)))], Upstream(config["standby_cluster"] as JsonObject), IsTrue(list["pause"]) || IsTrue(config["pause"]));
        }
        return null;
    }

    /// <summary>Changes the dynamic configuration through a member, which acts on it at once; null takes a key out.</summary>
    public async Task ChangeAsync(PatroniMember member, string json, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(HttpMethod.Patch, new Uri(member.Api, "config")) { Content = new StringContent(json, Encoding.UTF8, "application/json") };
        if (_secrets is not null && Path.Combine(_secrets, PasswordFile) is var file && File.Exists(file))
            request.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes((await File.ReadAllTextAsync(file, cancel)).Trim())));
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(AnswerMax * 2);
        HttpResponseMessage answer;
        try { answer = await _http.SendAsync(request, limit.Token); }
        catch (Exception error) when (error is HttpRequestException || (error is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            throw new InvalidOperationException($"Patroni's member {member.Name} at {member.Api.Authority} did not take the change: {error.Message}", error);
        }
        using (answer)
        {
            if (!answer.IsSuccessStatusCode)
                throw new InvalidOperationException($"Patroni's member {member.Name} at {member.Api.Authority} refused the change with {(int)answer.StatusCode}{((int)answer.StatusCode == 401 ? $": write `user:password` into the file `{PasswordFile}` of the agent's secrets" : "")}.");
        }
    }

    private async Task<PatroniMember> ReadMemberAsync(JsonObject listed, CancellationToken cancel)
    {
        var address = new Uri(new Uri((string)listed["api_url"]!), "/");
        var said = await GetAsync(new Uri(address, "patroni"), cancel);
        return new PatroniMember((string?)listed["name"] ?? address.Authority, address, (string?)listed["role"] is "leader" or "standby_leader", (string?)said?["role"], (string?)said?["state"],
            (string?)listed["host"] is { } host && listed["port"] is JsonValue port && port.TryGetValue<int>(out var number) ? (host, number) : null);
    }

    /// <summary>What a member says, whatever the status says of it; null: nothing.</summary>
    private async Task<JsonObject?> GetAsync(Uri page, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(AnswerMax);
        try
        {
            using var answer = await _http.GetAsync(page, limit.Token);
            return JsonNode.Parse(await answer.Content.ReadAsStringAsync(limit.Token)) as JsonObject;
        }
        catch (Exception error) when (error is HttpRequestException or IOException or JsonException || (error is OperationCanceledException && !cancel.IsCancellationRequested)) { return null; }
    }

    private static PatroniUpstream? Upstream(JsonObject? standby) => standby is null || (standby["host"] ?? standby["port"] ?? standby["restore_command"]) is null
        ? null
        : new PatroniUpstream((string?)standby["host"], standby["port"] is JsonValue port && int.TryParse(port.ToString(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null);

    private static bool IsTrue(JsonNode? node) => node is JsonValue value && value.TryGetValue<bool>(out var on) && on;
}
