using System.Buffers;
using System.Net;
using BuildRunner.Client.Access;

namespace BuildRunner.Server.Access;

/// <summary>Who may do what, and which requests are not what they seem; no state, no I/O.</summary>
internal static class AccessRules
{
    public const string RegionClaim = "region";
    public const int NameMax = 100;
    private static readonly SearchValues<char> OfCode = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789-");
    private static readonly SearchValues<char> OfHex = SearchValues.Create("0123456789abcdef");

    /// <summary>A policy's name is the least role that it lets in.</summary>
    public static readonly IReadOnlyList<(string Policy, AccessRole[] Roles)> Policies =
    [
        ("viewer", [AccessRole.Viewer, AccessRole.Operator, AccessRole.Admin]),
        ("operator", [AccessRole.Operator, AccessRole.Admin]),
        ("admin", [AccessRole.Admin]),
        ("gateway", [AccessRole.Gateway]),
        ("agent", [AccessRole.Agent]),
    ];

    public static bool IsNode(AccessRole role) => role is AccessRole.Gateway or AccessRole.Agent;

    public static string Word(AccessRole role) => role.ToString().ToLowerInvariant();

    /// <summary>A SHA-256 in lower-case hex.</summary>
    public static bool IsHash(string text) => text.Length == 64 && !text.AsSpan().ContainsAnyExcept(OfHex);

    /// <summary>What is wrong with a token to be made; null: nothing.</summary>
    public static string? Fault(AccessRole role, string? name, string? region)
    {
        if (IsNode(role) && string.IsNullOrEmpty(region))
            return $"A token for role {Word(role)} is bound to a region: name it with --region.";
        if (!IsNode(role) && region is not null)
            return $"A token for role {Word(role)} is not bound to a region: leave --region out.";
        if (region is not null && (region.Length > 64 || region.AsSpan().ContainsAnyExcept(OfCode)))
            return $"'{region}' is not the code of a region.";
        if (name is not null && (name.Trim().Length == 0 || name.Length > NameMax || name.Any(char.IsControl)))
            return $"A token's name has 1 to {NameMax} characters, none of them a control character.";
        return null;
    }

    /// <summary>Whether the Host header names this server: else a page elsewhere may have bent a name of its own to our address (DNS rebinding).</summary>
    public static bool HostAllowed(string host, IReadOnlyList<string> configured)
    {
        if (host.Equals("localhost", StringComparison.OrdinalIgnoreCase))
            return true;
        if (IPAddress.TryParse(host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address))
            return true;
        return configured.Contains(host, StringComparer.OrdinalIgnoreCase);
    }

    /// <summary>
    /// Whether a request that a browser signed by its cookie comes from our own page. Browsers always say so for anything that could change something:
    /// a request that says nothing is none of theirs and has no business with a cookie.
    /// </summary>
    public static bool SameOrigin(string scheme, string host, string? fetchSite, string? origin)
    {
        if (!string.IsNullOrEmpty(origin) && !origin.Equals($"{scheme}://{host}", StringComparison.OrdinalIgnoreCase))
            return false;
        if (!string.IsNullOrEmpty(fetchSite))
            return fetchSite == "same-origin";
        return !string.IsNullOrEmpty(origin);
    }

    /// <summary>Whether a request of this method may change something; a WebSocket may, though it begins with a GET.</summary>
    public static bool MayChange(string method, bool upgrades) => upgrades || method is not ("GET" or "HEAD" or "OPTIONS");
}
