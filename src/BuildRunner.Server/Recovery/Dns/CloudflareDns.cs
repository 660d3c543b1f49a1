using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// Cloudflare's API (v4): the records of a name are listed, and the differences sent as one batch. Ours bear a comment; others are never touched.
/// After a 429 nothing is asked before its Retry-After (at most five minutes). Bounds: 10 s and 1 MiB an answer, 1,000 records a name.
/// </summary>
internal sealed class CloudflareDns : IDnsDriver, IDisposable
{
    internal const string Mark = "buildrunner token=";
    private const int PageSize = 100;
    private const int PagesMax = 10;
    private const int BytesMax = 1024 * 1024;
    private static readonly TimeSpan AnswerMax = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan PauseMax = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(30);

    private readonly IPolicySource _policy;
    private readonly AuthoritativeServers _servers;
    private readonly TimeProvider _time;
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, UseCookies = false, AllowAutoRedirect = false, PooledConnectionLifetime = TimeSpan.FromMinutes(2) })
    {
        Timeout = AnswerMax,
        MaxResponseContentBufferSize = BytesMax,
    };

    /// <summary>Until when nothing is asked; the API's own word.</summary>
    private (long From, TimeSpan For)? _quiet;
    private (DnsRules For, string Id)? _zone;

    public CloudflareDns(IPolicySource policy, AuthoritativeServers servers, TimeProvider time) => (_policy, _servers, _time) = (policy, servers, time);

    public string Name => DnsRules.Cloudflare;

    public Task<IReadOnlyList<DnsReading>> ReadAsync(string name, CancellationToken cancel) => _servers.ReadAsync(name, cancel);

    public void Dispose() => _http.Dispose();

    public async Task<DnsWrite> ApplyAsync(DnsRecord record, Fence? fence, CancellationToken cancel)
    {
        var rules = _policy.Current.Dns;
        if (_quiet is { } quiet && _time.GetElapsedTime(quiet.From) is var passed && passed < quiet.For)
            return Limited(quiet.For - passed);
        var (token, unread) = rules.CloudflareApi.Token is { } reference ? SecretText.Resolve(reference) : (null, "The policy names no token.");
        if (token is null || token.Any(c => c is <= ' ' or > '~'))
            return DnsWrite.Fail(DnsFaultKind.Misconfigured, "policy", unread ?? "What `dns.cloudflare.token` refers to is no token.", "Put an API token with DNS Write on the zone into the variable or file that `dns.cloudflare.token` names.");
        try
        {
            var zone = await ZoneAsync(rules, token, cancel);
            var there = await ListAsync(rules, token, zone, record.Name, cancel);
            var mine = fence?.Token ?? 0;
            if (there.Select(TokenOf).Max() is { } known && known > mine)
                return DnsWrite.Fail(DnsFaultKind.Superseded, "Cloudflare", $"A server with the later token {known} has written {record.Name}, and ours is {mine}.", "Nothing is to be done when another server leads; after the loss of the server's state, remove the comments of its records.");
            var batch = Batch(record, there, mine);
            if (!batch.IsEmpty)
                await SendAsync(rules, token, HttpMethod.Post, $"zones/{zone}/dns_records/batch", batch, DnsJson.Default.CloudflareAnswerJsonElement, cancel);
            var foreign = there.Where(r => TokenOf(r) is null && (!record.Values.Contains(ValueOf(r)) || r.Proxied == true)).Select(r => $"{r.Type} {r.Content}").ToList();
            return foreign.Count == 0
                ? new DnsWrite.Done(Changed: !batch.IsEmpty)
                : DnsWrite.Fail(DnsFaultKind.Foreign, "Cloudflare", $"Beside ours {record.Name} has records that BuildRunner did not write: {string.Join(", ", foreign.Take(5))}.", $"Remove them, or hand them over with the comment `{Mark}0`.");
        }
        catch (CloudflareFault fault) { return new DnsWrite.Failed(fault.Fault); }
    }

    /// <summary>What must change; empty: nothing. What is not ours stays, and is not written a second time beside itself.</summary>
    internal static CloudflareBatch Batch(DnsRecord record, IReadOnlyList<CloudflareRecord> there, long token)
    {
        var ours = there.Where(r => TokenOf(r) is not null).ToList();
        var missing = record.Values.Except(there.Where(r => TokenOf(r) is null).Select(ValueOf)).ToList();
        var comment = string.Create(CultureInfo.InvariantCulture, $"{Mark}{token}");
        var ttl = (int)record.Ttl.TotalSeconds;
        var (deletes, patches, posts) = (new List<CloudflareRecord>(), new List<CloudflareRecord>(), new List<CloudflareRecord>());
        foreach (var one in ours.Where(r => missing.Contains(ValueOf(r))).DistinctBy(ValueOf).ToList())
        {
            missing.Remove(ValueOf(one));
            ours.Remove(one);
            if (one.Ttl != ttl || one.Proxied == true)
                patches.Add(new() { Id = one.Id, Ttl = ttl, Proxied = false, Comment = comment });
        }
        // One that is not wanted any more becomes one that is: the name is never without an address in between.
        foreach (var value in missing)
        {
            var type = DnsRecord.TypeOf(value);
            if (ours.Find(r => r.Type == type) is { } old)
            {
                ours.Remove(old);
                patches.Add(new() { Id = old.Id, Content = value, Ttl = ttl, Proxied = false, Comment = comment });
            }
            else
            {
                posts.Add(new() { Type = type, Name = record.Name, Content = value, Ttl = ttl, Proxied = false, Comment = comment });
            }
        }
        deletes.AddRange(ours.Select(r => new CloudflareRecord { Id = r.Id }));
        return new() { Deletes = deletes.Count > 0 ? deletes : null, Patches = patches.Count > 0 ? patches : null, Posts = posts.Count > 0 ? posts : null };
    }

    private async Task<string> ZoneAsync(DnsRules rules, string token, CancellationToken cancel)
    {
        if (rules.CloudflareApi.ZoneId is { } written)
            return written;
        if (_zone is { } known && known.For == rules)
            return known.Id;
        var labels = DnsRecord.Canonical(rules.Name).Split('.');
        for (var from = 0; from + 1 < labels.Length; from++)
        {
            var name = string.Join('.', labels[from..]);
            var found = await SendAsync(rules, token, HttpMethod.Get, $"zones?name={Uri.EscapeDataString(name)}", null, DnsJson.Default.CloudflareAnswerListCloudflareZone, cancel);
            if (found.Result is [var zone, ..])
            {
                _zone = (rules, zone.Id);
                return zone.Id;
            }
        }
        throw new CloudflareFault(DnsFaultKind.NotAuthoritative, $"The token sees no zone that holds {rules.Name}.", "Write `dns.cloudflare.zone_id`, or give the token Zone Read on the zone.");
    }

    private async Task<IReadOnlyList<CloudflareRecord>> ListAsync(DnsRules rules, string token, string zone, string name, CancellationToken cancel)
    {
        var all = new List<CloudflareRecord>();
        for (var page = 1; page <= PagesMax; page++)
        {
            var answer = await SendAsync(rules, token, HttpMethod.Get, string.Create(CultureInfo.InvariantCulture, $"zones/{zone}/dns_records?name={Uri.EscapeDataString(name)}&per_page={PageSize}&page={page}"), null, DnsJson.Default.CloudflareAnswerListCloudflareRecord, cancel);
            all.AddRange(answer.Result?.Where(r => r.Type is not null && DnsRecord.Types.Contains(r.Type) && string.Equals(r.Name, name, StringComparison.OrdinalIgnoreCase)) ?? []);
            if (page >= (answer.ResultInfo?.TotalPages ?? 1))
                return all;
        }
        throw new CloudflareFault(DnsFaultKind.Failed, $"{name} has more than {PageSize * PagesMax} records.", "Remove those that nobody needs.");
    }

    private async Task<CloudflareAnswer<T>> SendAsync<T>(DnsRules rules, string token, HttpMethod method, string path, CloudflareBatch? body, JsonTypeInfo<CloudflareAnswer<T>> type, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(method, new Uri($"{rules.CloudflareApi.Api}/{path}"));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        if (body is not null)
            request.Content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(body, DnsJson.Default.CloudflareBatch)) { Headers = { ContentType = new("application/json") } };
        CloudflareAnswer<T>? answer = null;
        HttpStatusCode status;
        try
        {
            using var response = await _http.SendAsync(request, cancel);
            status = response.StatusCode;
            if (status == HttpStatusCode.TooManyRequests)
            {
                var wait = response.Headers.RetryAfter switch { { Delta: { } span } => span, { Date: { } date } => date - _time.GetUtcNow(), _ => Pause };
                wait = wait < TimeSpan.FromSeconds(1) ? TimeSpan.FromSeconds(1) : wait > PauseMax ? PauseMax : wait;
                _quiet = (_time.GetTimestamp(), wait);
                throw new CloudflareFault(Limited(wait).Fault);
            }
            try { answer = JsonSerializer.Deserialize(await response.Content.ReadAsByteArrayAsync(cancel), type); }
            catch (JsonException) { } // a page of a proxy between, say: the status tells
        }
        catch (HttpRequestException error)
        {
            throw new CloudflareFault(DnsFaultKind.Unreachable, $"{rules.CloudflareApi.Api} could not be asked: {error.HttpRequestError}.", "See that the server of BuildRunner may reach it over HTTPS.");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new CloudflareFault(DnsFaultKind.Unreachable, $"{rules.CloudflareApi.Api} did not answer within {AnswerMax.TotalSeconds:0} s.", "It is tried again; a batch may have been taken all the same, which is read back.");
        }
        if (answer is { Success: true })
            return answer;
        var said = string.Join("; ", answer?.Errors.Take(3).Select(e => string.Create(CultureInfo.InvariantCulture, $"{e.Message} ({e.Code})")) ?? []);
        said = said.Length == 0 ? $"HTTP {(int)status}" : $"HTTP {(int)status}, {said[..Math.Min(said.Length, 300)]}";
        throw status switch
        {
            HttpStatusCode.Unauthorized or HttpStatusCode.BadRequest or HttpStatusCode.Forbidden when status == HttpStatusCode.Unauthorized || answer?.Errors.Any(e => e.Code is 6003 or 6111 or 9109) == true => new CloudflareFault(DnsFaultKind.WrongKey, $"Cloudflare does not know the token: {said}.", "Put an API token that is in force into the variable or file that `dns.cloudflare.token` names."),
            HttpStatusCode.Forbidden => new CloudflareFault(DnsFaultKind.Refused, $"The token may not do this: {said}.", "Give it DNS Write on the zone (and Zone Read without `zone_id`)."),
            HttpStatusCode.NotFound => new CloudflareFault(DnsFaultKind.NotAuthoritative, $"Cloudflare keeps no such zone: {said}.", "Correct `dns.cloudflare.zone_id`."),
            _ => new CloudflareFault(DnsFaultKind.Failed, $"Cloudflare did not take it: {said}.", (int)status >= 500 ? "It is tried again." : "Look at the records of the name in Cloudflare's dashboard."),
        };
    }

    private static DnsWrite.Failed Limited(TimeSpan wait) => new(new(DnsFaultKind.Limited, "Cloudflare", $"Cloudflare was asked too often, and takes no more for {Math.Ceiling(wait.TotalSeconds):0} s.", "It is tried again then; see who else uses this account's token."));

    private static string ValueOf(CloudflareRecord record) => DnsRecord.Canonical(record.Content ?? "");

    private static long? TokenOf(CloudflareRecord record) =>
        record.Comment is { } comment && comment.StartsWith(Mark, StringComparison.Ordinal) && long.TryParse(comment[Mark.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out var token) ? token : null;

    private sealed class CloudflareFault(DnsFault fault) : Exception(fault.Message)
    {
        public CloudflareFault(DnsFaultKind kind, string message, string fix) : this(new DnsFault(kind, "Cloudflare", message, fix)) { }

        public DnsFault Fault { get; } = fault;
    }
}
