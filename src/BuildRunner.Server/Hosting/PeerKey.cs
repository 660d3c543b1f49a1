using System.Security.Cryptography;
using System.Text;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// What agents sign their lines to each other with: made from the replication role's password, which every agent of a database has. Gateways, which
/// have no business with that password, get a key drawn from it that opens nothing else.
/// </summary>
internal static class PeerKey
{
    public const int LineBytesMax = 4096;

    /// <summary>A host's saved state, with the policy in it.</summary>
    public const int SavedBytesMax = 2 * 1024 * 1024;
    private const int FirstBytes = 1024;
    private static readonly byte[] Purpose = "buildrunner peer 1"u8.ToArray();
    private static readonly byte[] GatewayPurpose = "buildrunner gateway summons 1"u8.ToArray();

    public static byte[] From(string secret) => HKDF.DeriveKey(HashAlgorithmName.SHA256, Encoding.UTF8.GetBytes(secret), 32, info: Purpose);

    public static byte[] ForGateways(string secret) => HKDF.DeriveKey(HashAlgorithmName.SHA256, Encoding.UTF8.GetBytes(secret), 32, info: GatewayPurpose);

    /// <summary>Says which key it is, and nothing of what it is.</summary>
    public static string Fingerprint(byte[] gatewayKey) => Convert.ToHexStringLower(SHA256.HashData(gatewayKey))[..16];

    /// <summary>The token by which a summoned node knocks at the server that summoned it; both ends make it, and neither sends it before.</summary>
    public static string Token(byte[] key, string summons, string node) => "br_" + Sign(key, "token", summons, node);

    public static string Sign(byte[] key, params ReadOnlySpan<string> parts) => Convert.ToHexStringLower(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(string.Join('\n', parts!))));

    public static bool Verify(byte[] key, string signature, params ReadOnlySpan<string> parts) =>
        CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(Sign(key, parts)), Encoding.UTF8.GetBytes(signature));

    public static string Random() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));

    /// <summary>A line of bounded length; null: the other end closed. The two ends speak in turns, so nothing follows a line before it is answered.</summary>
    public static async Task<string?> LineAsync(Stream stream, CancellationToken cancel, int bytesMax = LineBytesMax)
    {
        var line = new byte[Math.Min(FirstBytes, bytesMax)];
        for (var length = 0; ;)
        {
            if (length == line.Length)
            {
                if (length == bytesMax)
                    throw new IOException($"a line of more than {bytesMax} bytes");
                Array.Resize(ref line, Math.Min(line.Length * 2, bytesMax));
            }
            var read = await stream.ReadAsync(line.AsMemory(length), cancel);
            if (read == 0)
                return null;
            var end = line.AsSpan(length, read).IndexOf((byte)'\n');
            if (end >= 0)
                return Encoding.UTF8.GetString(line, 0, length + end);
            length += read;
        }
    }
}
