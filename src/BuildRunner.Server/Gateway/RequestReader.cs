using System.Net;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Hosting.Geo;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace BuildRunner.Server.Gateway;

/// <summary>Reads off a request what the choice needs; believes what proxies say only of trusted ones.</summary>
internal sealed class RequestReader(string gateway, IGeoReader geo, TargetWatch targets)
{
    public RequestFactsRead Read(HttpContext context, GatewayState state, DateTimeOffset now)
    {
        var request = context.Request;
        var peer = context.Connection.RemoteIpAddress ?? IPAddress.None;
        var trusted = state.View.TrustedProxies;
        var isTrusted = ForwardedFor.IsTrusted(peer, trusted);
        var forwarded = request.Headers["X-Forwarded-For"];
        var client = isTrusted ? ForwardedFor.Client(peer, forwarded, trusted) : peer;
        var (wish, affinity) = Cookies(request.Headers.Cookie);
        return new RequestFactsRead(
            new RequestFacts
            {
                Gateway = gateway,
                Method = request.Method,
                Path = request.Path.Value is { Length: > 0 } path ? path : "/",
                Client = ClientKey.Of(client),
                Place = geo.Find(client),
                RegionCookie = wish,
                Affinity = AffinityCookie.Read(affinity, now, state.AffinityKeys),
                Stream = request.Headers.Upgrade.Count > 0 || request.ContentType?.StartsWith("application/grpc", StringComparison.OrdinalIgnoreCase) == true,
                SeenDown = targets.SeenDown,
            },
            isTrusted,
            isTrusted && forwarded.Count > 0 ? $"{forwarded}, {Text(peer)}" : Text(peer));
    }

    private static string Text(IPAddress address) => (address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address).ToString();

    /// <summary>The first of each of our two cookies, without reading all the others into a dictionary.</summary>
    private static (string? Region, string? Affinity) Cookies(StringValues headers)
    {
        string? region = null, affinity = null;
        foreach (var header in headers)
        {
            foreach (var range in header.AsSpan().Split(';'))
            {
                var cookie = header.AsSpan()[range].Trim();
                if (cookie.StartsWith("br-region=", StringComparison.Ordinal))
                    region ??= cookie[10..].Trim('"').ToString();
                else if (cookie.StartsWith("br-affinity=", StringComparison.Ordinal))
                    affinity ??= cookie[12..].Trim('"').ToString();
            }
        }
        return (region, affinity);
    }
}

/// <summary>Facts for the choice, and what goes into X-Forwarded-For.</summary>
internal sealed record RequestFactsRead(RequestFacts Facts, bool PeerTrusted, string ForwardedFor);
