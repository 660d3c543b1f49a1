using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Serialization;
using BuildRunner.Client;
using Microsoft.AspNetCore.Http;

namespace BuildRunner.Dashboard;

/// <summary>The way from a page to the public API of the server that it stands on, as the visitor.</summary>
internal sealed class ApiLine : IDisposable
{
    private readonly SocketsHttpHandler _handler = new() { UseProxy = false, UseCookies = false, AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(2) };

    public ApiConnection As(HttpContext visitor)
    {
        var address = visitor.Connection.LocalIpAddress ?? IPAddress.Loopback;
        var http = new HttpClient(_handler, disposeHandler: false)
        {
            BaseAddress = new UriBuilder(visitor.Request.Scheme, (address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address).ToString(), visitor.Connection.LocalPort).Uri,
            Timeout = Timeout.InfiniteTimeSpan,
        };
        if (visitor.Request.Headers.Cookie is { Count: > 0 } cookie)
            http.DefaultRequestHeaders.TryAddWithoutValidation("Cookie", (IEnumerable<string?>)cookie);
        if (AuthenticationHeaderValue.TryParse(visitor.Request.Headers.Authorization, out var token))
            http.DefaultRequestHeaders.Authorization = token;
        return new ApiConnection(http);
    }

    public void Dispose() => _handler.Dispose();
}

[JsonSerializable(typeof(string))]
internal sealed partial class DashboardJson : JsonSerializerContext;
