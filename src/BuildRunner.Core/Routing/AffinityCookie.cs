using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace BuildRunner.Core.Routing;

/// <summary>The cookie `br-affinity`: `v1.REGION.ISSUED.EXPIRES.MAC`, times in Unix seconds, HMAC-SHA256. Forged, cut short or expired counts as absent.</summary>
public static class AffinityCookie
{
    public const string Name = "br-affinity";
    private const string Version = "v1";
    private const int TextMax = 256;

    public static string Issue(string region, DateTimeOffset now, TimeSpan lifetime, ReadOnlySpan<byte> key)
    {
        var body = string.Create(CultureInfo.InvariantCulture, $"{Version}.{region}.{now.ToUnixTimeSeconds()}.{(now + lifetime).ToUnixTimeSeconds()}");
        return $"{body}.{Base64Url.EncodeToString(Mac(body, key))}";
    }

    /// <summary>The claim when one of the keys signed it and it has not expired; newest key first.</summary>
    public static AffinityClaim? Read(string? text, DateTimeOffset now, IReadOnlyList<byte[]> keys)
    {
        if (text is null || text.Length > TextMax)
            return null;
        var end = text.LastIndexOf('.');
        if (end < 0)
            return null;
        var parts = text[..end].Split('.');
        if (parts is not [Version, { Length: > 0 } region, var issuedText, var expiresText]
            || !long.TryParse(issuedText, NumberStyles.None, CultureInfo.InvariantCulture, out var issued)
            || !long.TryParse(expiresText, NumberStyles.None, CultureInfo.InvariantCulture, out var expires)
            || issued > MaxUnixSeconds || expires > MaxUnixSeconds
            || expires <= now.ToUnixTimeSeconds())
            return null;

        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        if (!Base64Url.IsValid(text.AsSpan(end + 1), out var length) || length != mac.Length || !Base64Url.TryDecodeFromChars(text.AsSpan(end + 1), mac, out _))
            return null;
        var genuine = false;
        foreach (var key in keys)
            genuine |= CryptographicOperations.FixedTimeEquals(mac, Mac(text[..end], key));
        return genuine ? new AffinityClaim(region, DateTimeOffset.FromUnixTimeSeconds(issued), DateTimeOffset.FromUnixTimeSeconds(expires)) : null;
    }

    /// <summary>Sliding, but not on every answer: a new cookie when the region changed or a tenth of the lifetime has passed.</summary>
    public static bool ShouldIssue(AffinityClaim? claim, string region, DateTimeOffset now, TimeSpan lifetime) =>
        lifetime > TimeSpan.Zero && (claim is not { } held || held.Region != region || now - held.Issued >= lifetime / 10 || held.Expires - held.Issued != lifetime);

    private static readonly long MaxUnixSeconds = DateTimeOffset.MaxValue.ToUnixTimeSeconds();

    private static byte[] Mac(string body, ReadOnlySpan<byte> key) => HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(body));
}
