using System.Security.Cryptography;
using System.Text;

namespace BuildRunner.Server.Agent;

/// <summary>What agents sign their lines to each other with: made from the replication role's password, which every agent of a database has.</summary>
internal static class PeerKey
{
    public const int LineBytesMax = 4096;
    private static readonly byte[] Purpose = "buildrunner peer 1"u8.ToArray();

    public static byte[] From(string secret) => HKDF.DeriveKey(HashAlgorithmName.SHA256, Encoding.UTF8.GetBytes(secret), 32, info: Purpose);

    public static string Sign(byte[] key, params ReadOnlySpan<string> parts) => Convert.ToHexStringLower(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(string.Join('\n', parts!))));

    public static bool Verify(byte[] key, string signature, params ReadOnlySpan<string> parts) =>
        CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(Sign(key, parts)), Encoding.UTF8.GetBytes(signature));

    public static string Random() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));

    /// <summary>A line of bounded length; null: the other end closed.</summary>
    public static async Task<string?> LineAsync(Stream stream, CancellationToken cancel)
    {
        var line = new byte[LineBytesMax];
        for (var length = 0; length < line.Length; length++)
        {
            if (await stream.ReadAsync(line.AsMemory(length, 1), cancel) == 0)
                return null;
            if (line[length] == '\n')
                return Encoding.UTF8.GetString(line, 0, length);
        }
        throw new IOException($"a line of more than {LineBytesMax} bytes");
    }
}
