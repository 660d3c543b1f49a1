using System.Security.Cryptography;
using System.Text;

namespace BuildRunner.Server.Agent;

/// <summary>
/// What PostgreSQL keeps of a password (RFC 5802 with SHA-256): sent in its place, so that no log of statements ever has the password, and whatever
/// `password_encryption` says.
/// </summary>
internal static class PostgresScram
{
    private const int Iterations = 4096;
    private const int SaltBytes = 16;

    public static string Verifier(string password) => Verifier(password, RandomNumberGenerator.GetBytes(SaltBytes));

    internal static string Verifier(string password, byte[] salt)
    {
        var salted = Rfc2898DeriveBytes.Pbkdf2(Encoding.UTF8.GetBytes(password.Normalize(NormalizationForm.FormKC)), salt, Iterations, HashAlgorithmName.SHA256, SHA256.HashSizeInBytes);
        var stored = SHA256.HashData(HMACSHA256.HashData(salted, "Client Key"u8));
        var server = HMACSHA256.HashData(salted, "Server Key"u8);
        return string.Create(CultureInfo.InvariantCulture, $"SCRAM-SHA-256${Iterations}:{Convert.ToBase64String(salt)}${Convert.ToBase64String(stored)}:{Convert.ToBase64String(server)}");
    }
}
