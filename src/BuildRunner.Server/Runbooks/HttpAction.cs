using System.Net.Sockets;
using System.Text;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Runbooks;

/// <summary>
/// `http`: one request. Arguments: `url`, `method` (GET), `expect` (statuses such as `200, 201` or `2xx`; default 2xx), `timeout` (10 s), `body`,
/// `content_type`, `header.NAME`, `idempotency_header` (Idempotency-Key). The key is the same after a crash, so that a receiver that heeds it acts once.
/// Secrets are references (`env:NAME`, `file:PATH`); bodies and headers are never logged or kept.
/// </summary>
internal sealed class HttpAction : IAction, IDisposable
{
    private static readonly string[] Methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    private static readonly string[] Known = ["url", "method", "expect", "timeout", "body", "content_type", "idempotency_header"];
    private static readonly string[] SecretWords = ["authorization", "token", "secret", "password", "cookie", "api-key", "apikey"];
    private readonly HttpMessageInvoker _http;

    public HttpAction(INetwork network) => _http = new HttpMessageInvoker(new SocketsHttpHandler
    {
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false, // a redirect is an answer: it is expected, or it is not
        PooledConnectionLifetime = TimeSpan.FromMinutes(1),
        MaxConnectionsPerServer = 8,
        ConnectCallback = async (connect, cancel) =>
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await socket.ConnectAsync(network.Map(connect.DnsEndPoint.Host, connect.DnsEndPoint.Port), cancel);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        },
    });

    public string Name => "http";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        var (call, wrong) = Read(context);
        return Task.FromResult(call is null ? new ActionCheck { Problems = wrong } : new ActionCheck { Note = $"{call.Method} {call.Shown}", Expected = TimeSpan.FromMilliseconds(200) });
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (call, wrong) = Read(context);
        if (call is null)
            return new ActionOutcome.Refused(string.Join(" ", wrong));
        var (status, error) = await SendAsync(call, context.Key, cancel);
        return error is not null ? new ActionOutcome.Failed(error, Unknown: true)
            : Fits(call.Expect, status) ? ActionOutcome.Finished(("status", status.ToString(CultureInfo.InvariantCulture)))
            : new ActionOutcome.Failed($"{call.Method} {call.Shown} answered {status}, and {call.Expect} was expected.", Unknown: status >= 500);
    }

    /// <summary>Only a request that changes nothing can look; any other is sent again under its key.</summary>
    public async Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel)
    {
        var (call, wrong) = Read(context);
        if (call is null)
            return new ActionVerdict.Unknown(string.Join(" ", wrong));
        if (call.Method is not ("GET" or "HEAD"))
            return new ActionVerdict.Unknown($"a {call.Method} is sent again under its key");
        var (status, error) = await SendAsync(call, context.Key, cancel);
        return error is not null ? new ActionVerdict.NotSo(error)
            : Fits(call.Expect, status) ? new ActionVerdict.So(new Dictionary<string, string> { ["status"] = status.ToString(CultureInfo.InvariantCulture) })
            : new ActionVerdict.NotSo($"{call.Method} {call.Shown} answered {status}, and {call.Expect} was expected.");
    }

    public void Dispose() => _http.Dispose();

    private async Task<(int Status, string? Error)> SendAsync(Call call, string key, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(call.Timeout);
        using var request = new HttpRequestMessage(new HttpMethod(call.Method), call.Url);
        request.Headers.TryAddWithoutValidation(call.KeyHeader, key);
        if (call.Body is { } body)
            request.Content = new StringContent(body, Encoding.UTF8, call.ContentType);
        foreach (var (name, value) in call.Headers)
        {
            if (!request.Headers.TryAddWithoutValidation(name, value))
                request.Content?.Headers.TryAddWithoutValidation(name, value);
        }
        try
        {
            using var answer = await _http.SendAsync(request, limit.Token);
            return ((int)answer.StatusCode, null);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { return (0, $"{call.Method} {call.Shown} did not answer within {Units.Write(call.Timeout)}."); }
        catch (HttpRequestException error) { return (0, $"{call.Method} {call.Shown} failed: {error.HttpRequestError}."); }
    }

    private static (Call? Call, IReadOnlyList<string> Wrong) Read(ActionContext context)
    {
        var wrong = new List<string>();
        void No(string what) => wrong.Add($"Step '{context.Step.Id}': {what}");

        foreach (var name in context.Arguments.Keys.Where(n => !Known.Contains(n) && !n.StartsWith("header.", StringComparison.Ordinal)))
            No($"`http` has no argument '{name}'. {Nearest.Fix(name, [.. Known, "header.NAME"])}");
        var method = (context.Argument("method") ?? "GET").ToUpperInvariant();
        if (!Methods.Contains(method))
            No($"'{method}' is no method; use one of {string.Join(", ", Methods)}.");
        if (!Uri.TryCreate(context.Argument("url"), UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
            No("`url` is missing or no http address: write it whole, https://host/path.");
        else if (url.UserInfo.Length > 0)
            No("`url` holds a user's name or password: write `header.Authorization: env:NAME` instead.");
        var timeout = TimeSpan.FromSeconds(10);
        if (context.Argument("timeout") is { } span && (!Units.TryDuration(span, out timeout, out _, out _) || timeout <= TimeSpan.Zero || timeout > TimeSpan.FromMinutes(10)))
            No($"`timeout: {span}` is no duration up to 10 m.");
        var expect = context.Argument("expect") ?? "2xx";
        if (!Statuses(expect).All(s => s.Length == 3 && s[0] is >= '1' and <= '5' && (s[1..] == "xx" || s.All(char.IsAsciiDigit))))
            No($"`expect: {expect}` is no list of statuses: write `200, 201` or `2xx`.");
        var headers = new List<(string, string)>();
        foreach (var key in context.Arguments.Keys.Where(k => k.StartsWith("header.", StringComparison.Ordinal)))
        {
            var name = key[7..];
            if (!SecretText.IsWritten(context, key) && SecretWords.Any(w => name.Contains(w, StringComparison.OrdinalIgnoreCase)))
                No($"`{key}` is a secret, and a runbook is read by many: put it into a variable or a file of the server and write `env:NAME` or `file:PATH`.");
            else if (SecretText.Resolve(context, key) is { Wrong: { } missing })
                No(missing);
            else
                headers.Add((name, SecretText.Resolve(context, key).Value!));
        }
        string? body = null;
        if (context.Argument("body") is not null)
        {
            (body, var missing) = SecretText.Resolve(context, "body");
            if (missing is not null)
                No(missing);
        }
        return wrong.Count > 0 ? (null, wrong)
            : (new Call(method, url!, $"{url!.Scheme}://{url.Authority}{url.AbsolutePath}", timeout, expect, body, context.Argument("content_type") ?? "application/json", context.Argument("idempotency_header") ?? "Idempotency-Key", headers), wrong);
    }

    private static bool Fits(string expect, int status)
    {
        var text = status.ToString(CultureInfo.InvariantCulture);
        return Statuses(expect).Any(s => s == text || (s.EndsWith("xx", StringComparison.Ordinal) && s[0] == text[0]));
    }

    private static string[] Statuses(string expect) => expect.Split([',', ' '], StringSplitOptions.RemoveEmptyEntries);

    // Shown: the address without its query, which may hold a secret.
    private sealed record Call(string Method, Uri Url, string Shown, TimeSpan Timeout, string Expect, string? Body, string ContentType, string KeyHeader, IReadOnlyList<(string Name, string Value)> Headers)
    {
        public override string ToString() => $"{Method} {Shown}";
    }
}
