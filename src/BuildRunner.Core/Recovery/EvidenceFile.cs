using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace BuildRunner.Core.Recovery;

/// <summary>Who signed, and the signature over the canonical bytes of `evidence`.</summary>
public sealed record EvidenceSignature
{
    public const string Ecdsa = "ECDSA-P256-SHA256";

    public required string Algorithm { get; init; }

    /// <summary>`SHA256:` and the hash of the public key's bytes, in hexadecimal.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>SubjectPublicKeyInfo, in base64.</summary>
    public required string PublicKey { get; init; }

    /// <summary>DER sequence of r and s (RFC 3279), in base64.</summary>
    public required string Value { get; init; }
}

/// <summary>What reading a file of evidence came to.</summary>
public abstract record EvidenceVerdict
{
    private EvidenceVerdict() { }

    /// <summary>Every byte is as it was signed. <paramref name="Vouched"/>: the key is the one that the reader named.</summary>
    public sealed record Genuine(Evidence Evidence, string Fingerprint, bool Vouched) : EvidenceVerdict;

    /// <summary>Changed after it was signed, or never signed.</summary>
    public sealed record Forged(string Reason) : EvidenceVerdict;

    /// <summary>Genuine, but signed by another key than the reader trusts.</summary>
    public sealed record Stranger(string Fingerprint) : EvidenceVerdict;

    /// <summary>No evidence at all.</summary>
    public sealed record Unreadable(string Reason) : EvidenceVerdict;
}

/// <summary>A file of evidence: `{"evidence":…,"signature":…}` in canonical JSON and a line feed. Checked without any server.</summary>
public static class EvidenceFile
{
    /// <summary>The bytes that are signed.</summary>
    public static byte[] Text(Evidence evidence) => CanonicalJson.Write(JsonSerializer.SerializeToElement(evidence, EvidenceJson.Default.Evidence));

    /// <summary>The whole file.</summary>
    public static byte[] Write(Evidence evidence, EvidenceSignature signature) =>
        [.. CanonicalJson.Write(JsonSerializer.SerializeToElement(new EvidenceEnvelope { Evidence = evidence, Signature = signature }, EvidenceJson.Default.EvidenceEnvelope)), (byte)'\n'];

    public static string Fingerprint(ReadOnlySpan<byte> publicKey) => $"SHA256:{Convert.ToHexStringLower(SHA256.HashData(publicKey))}";

    /// <param name="file">Its bytes.</param>
    /// <param name="trusted">Fingerprint of the key that the reader trusts; null: none was named.</param>
    public static EvidenceVerdict Verify(ReadOnlyMemory<byte> file, string? trusted)
    {
        JsonElement root;
        byte[] canonical;
        try
        {
            using var document = JsonDocument.Parse(file);
            root = document.RootElement.Clone();
            canonical = [.. CanonicalJson.Write(root), (byte)'\n'];
        }
        // The second: a string that is no UTF-8.
        catch (Exception error) when (error is JsonException or InvalidOperationException) { return new EvidenceVerdict.Unreadable($"It is no JSON: {error.Message}"); }
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("evidence", out var evidence) || !root.TryGetProperty("signature", out var signed))
            return new EvidenceVerdict.Unreadable("It has no `evidence` and `signature`: `br dr evidence` makes such files.");
        if (!file.Span.SequenceEqual(canonical))
            return new EvidenceVerdict.Forged("Its text is not in the form in which evidence is written: something was added, taken away or written otherwise.");
        EvidenceSignature? signature;
        try { signature = signed.Deserialize(EvidenceJson.Default.EvidenceSignature); }
        catch (JsonException error) { return new EvidenceVerdict.Forged($"Its signature cannot be read: {error.Message}"); }
        if (signature is not { Algorithm: EvidenceSignature.Ecdsa } || root.EnumerateObject().Count() != 2 || signed.EnumerateObject().Count() != 4)
            return new EvidenceVerdict.Forged($"It is not signed by {EvidenceSignature.Ecdsa}.");
        if (!IsSigned(CanonicalJson.Write(evidence), signature))
            return new EvidenceVerdict.Forged("The signature is not that of this text: it was changed after it was signed.");
        Evidence? read;
        try { read = evidence.Deserialize(EvidenceJson.Default.Evidence); }
        catch (JsonException error) { return new EvidenceVerdict.Unreadable($"It is genuine, and of a form that this br does not know: {error.Message}"); }
        return read is null ? new EvidenceVerdict.Unreadable("Its evidence is null.")
            : trusted is not null && !string.Equals(Bare(trusted), Bare(signature.Fingerprint), StringComparison.OrdinalIgnoreCase) ? new EvidenceVerdict.Stranger(signature.Fingerprint)
            : new EvidenceVerdict.Genuine(read, signature.Fingerprint, trusted is not null);
    }

    private static string Bare(string fingerprint) => fingerprint.StartsWith("SHA256:", StringComparison.OrdinalIgnoreCase) ? fingerprint[7..] : fingerprint;

    private static bool IsSigned(byte[] text, EvidenceSignature signature)
    {
        try
        {
            var key = Exact(signature.PublicKey);
            if (Fingerprint(key) != signature.Fingerprint)
                return false;
            using var ecdsa = ECDsa.Create();
            ecdsa.ImportSubjectPublicKeyInfo(key, out var read);
            return read == key.Length && ecdsa.ExportParameters(false).Curve.Oid.Value == ECCurve.NamedCurves.nistP256.Oid.Value
                && ecdsa.VerifyData(text, Exact(signature.Value), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
        }
        // The last: a curve that this machine does not know is not ours either.
        catch (Exception error) when (error is FormatException or CryptographicException or PlatformNotSupportedException) { return false; }
    }

    /// <summary>Base64 has several texts for some bytes; only one of them is ours.</summary>
    private static byte[] Exact(string base64)
    {
        var bytes = Convert.FromBase64String(base64);
        return Convert.ToBase64String(bytes) == base64 ? bytes : throw new FormatException();
    }
}

/// <summary>The file's form.</summary>
internal sealed record EvidenceEnvelope
{
    public required Evidence Evidence { get; init; }
    public required EvidenceSignature Signature { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(Evidence))]
[JsonSerializable(typeof(EvidenceEnvelope))]
[JsonSerializable(typeof(EvidenceSignature))]
internal sealed partial class EvidenceJson : JsonSerializerContext;
