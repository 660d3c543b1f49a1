using System.Security.Cryptography;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>The key with which this server signs evidence: P-256, made at its first use, in `evidence-key.pem` of the data folder, for its user's eyes only.</summary>
internal sealed class EvidenceKey(string dataFolder)
{
    private readonly string _path = Path.Combine(dataFolder, "evidence-key.pem");
    private readonly Lock _gate = new();

    public EvidenceSignature Sign(ReadOnlySpan<byte> text)
    {
        using var key = Open();
        return Of(key, Convert.ToBase64String(key.SignData(text, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)));
    }

    /// <summary>The key's public half, without a signature.</summary>
    public EvidenceSignature Public()
    {
        using var key = Open();
        return Of(key, "");
    }

    private static EvidenceSignature Of(ECDsa key, string value)
    {
        var open = key.ExportSubjectPublicKeyInfo();
        return new() { Algorithm = EvidenceSignature.Ecdsa, Fingerprint = EvidenceFile.Fingerprint(open), PublicKey = Convert.ToBase64String(open), Value = value };
    }

    private ECDsa Open()
    {
        lock (_gate)
        {
            var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            try
            {
                if (File.Exists(_path))
                    key.ImportFromPem(File.ReadAllText(_path));
                else
                    AtomicFile.Write(_path, System.Text.Encoding.ASCII.GetBytes(key.ExportPkcs8PrivateKeyPem() + "\n"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
                return key;
            }
            catch (Exception error)
            {
                key.Dispose();
                throw error is CryptographicException or ArgumentException ? new InvalidOperationException($"{_path} holds no private key of the curve P-256. Put the right file back, or remove it: a new key is made then, and auditors must be told its fingerprint.", error) : error;
            }
        }
    }
}
