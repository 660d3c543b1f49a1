using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace BuildRunner.Client;

/// <summary>A line to a server's public API; the rooms' clients (`RegionsClient`, `RunbooksClient`, …) stand on it.</summary>
public sealed class ApiConnection(HttpClient http)
{
    /// <summary>A connection to a server with a bearer token; the token goes into no URL and no log.</summary>
    public static ApiConnection Create(Uri server, string token, HttpMessageHandler? handler = null)
    {
        var http = new HttpClient(handler ?? new SocketsHttpHandler { UseProxy = false, UseCookies = false, AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(2) }, disposeHandler: true)
        {
            BaseAddress = server,
            Timeout = Timeout.InfiniteTimeSpan,
        };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        return new ApiConnection(http);
    }

    public Uri? Server => http.BaseAddress;

    public async Task<T> GetAsync<T>(string path, JsonTypeInfo<T> type, CancellationToken cancel)
    {
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Get, path), cancel);
        return await ReadAsync(answer, type, cancel);
    }

    /// <summary>An answer that is kept as it is: its bytes are signed.</summary>
    public async Task<byte[]> GetBytesAsync(string path, CancellationToken cancel)
    {
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Get, path), cancel);
        return await answer.Content.ReadAsByteArrayAsync(cancel);
    }

    public async Task<TAnswer> SendAsync<TBody, TAnswer>(HttpMethod method, string path, TBody body, JsonTypeInfo<TBody> bodyType, JsonTypeInfo<TAnswer> answerType, CancellationToken cancel)
    {
        using var answer = await SendAsync(new HttpRequestMessage(method, path) { Content = JsonContent.Create(body, bodyType) }, cancel);
        return await ReadAsync(answer, answerType, cancel);
    }

    public async Task SendAsync<TBody>(HttpMethod method, string path, TBody body, JsonTypeInfo<TBody> bodyType, CancellationToken cancel)
    {
        using var answer = await SendAsync(new HttpRequestMessage(method, path) { Content = JsonContent.Create(body, bodyType) }, cancel);
    }

    public async Task SendAsync(HttpMethod method, string path, CancellationToken cancel)
    {
        using var answer = await SendAsync(new HttpRequestMessage(method, path), cancel);
    }

    /// <summary>Reads an answer of one JSON value a line as the lines arrive.</summary>
    public async IAsyncEnumerable<T> StreamAsync<T>(string path, JsonTypeInfo<T> type, [EnumeratorCancellation] CancellationToken cancel)
    {
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Get, path), cancel);
        using var reader = new StreamReader(await answer.Content.ReadAsStreamAsync(cancel));
        while (await reader.ReadLineAsync(cancel) is { } line)
        {
            if (line.Length > 0)
                yield return JsonSerializer.Deserialize(line, type) ?? throw new JsonException("null line");
        }
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancel)
    {
        HttpResponseMessage answer;
        try { answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel); }
        catch (HttpRequestException error) { throw new ApiUnreachableException($"No answer from the server at {http.BaseAddress}: {error.Message}.", error); }
        finally { request.Dispose(); }
        if (answer.IsSuccessStatusCode)
            return answer;
        using (answer)
            throw new ApiException(answer.StatusCode, await ProblemAsync(answer, cancel));
    }

    private static async Task<ApiProblem> ProblemAsync(HttpResponseMessage answer, CancellationToken cancel)
    {
        try
        {
            if (await answer.Content.ReadFromJsonAsync(ApiJson.Default.ApiProblem, cancel) is { } problem)
                return problem;
        }
        catch (JsonException) { } // not a problem document: a proxy's page, or nothing
        return new ApiProblem { Title = $"The server answered {(int)answer.StatusCode} {answer.ReasonPhrase}." };
    }

    private static async Task<T> ReadAsync<T>(HttpResponseMessage answer, JsonTypeInfo<T> type, CancellationToken cancel) =>
        await answer.Content.ReadFromJsonAsync(type, cancel) ?? throw new JsonException("The server answered null.");
}

/// <summary>RFC 9457 problem: `type` is stable, `title` names the thing, `detail` says what to do.</summary>
public sealed record ApiProblem
{
    public string? Type { get; init; }
    public string? Title { get; init; }
    public string? Detail { get; init; }
    public int? Status { get; init; }

    /// <summary>Reasons of a refusal, or errors of a document, one a line.</summary>
    public IReadOnlyList<string>? Errors { get; init; }

    /// <summary>The command's exit code for it, when the status alone does not say: 4 for a refusal by a safety check.</summary>
    public int? ExitCode { get; init; }
}

public sealed class ApiException(HttpStatusCode status, ApiProblem problem)
    : Exception(problem.Detail is { Length: > 0 } detail ? $"{problem.Title} {detail}" : problem.Title)
{
    public HttpStatusCode Status => status;
    public ApiProblem Problem => problem;
}

public sealed class ApiUnreachableException(string message, Exception inner) : Exception(message, inner);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(ApiProblem))]
public sealed partial class ApiJson : JsonSerializerContext;
