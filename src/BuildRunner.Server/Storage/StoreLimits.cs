using System.Text;

namespace BuildRunner.Server.Storage;

/// <summary>The limits of <see cref="IStore"/>, checked before a driver sees a call, so that every driver refuses the same things in the same words.</summary>
internal static class StoreLimits
{
    public const int KeyBytesMax = 512;
    public const int ValueBytesMax = 1024 * 1024;
    public const int ListEntriesMax = 10_000;
    public static readonly TimeSpan LeaseTtlMax = TimeSpan.FromDays(1);

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The key's bytes; `what` is key, log or lease.</summary>
    public static byte[] Key(string key, string what = "key")
    {
        if (string.IsNullOrEmpty(key))
            throw new StoreException($"A {what} must not be empty.");
        var bytes = Prefix(key, what);
        return bytes.Length <= KeyBytesMax ? bytes : throw new StoreException($"The {what} '{key[..40]}…' has {bytes.Length} bytes; {KeyBytesMax} is the limit.");
    }

    public static byte[] Prefix(string prefix, string what = "prefix")
    {
        if (prefix.AsSpan().IndexOfAnyInRange('\0', '\x1f') >= 0)
            throw new StoreException($"A {what} must not hold control characters.");
        try { return Strict.GetBytes(prefix); }
        catch (EncoderFallbackException error) { throw new StoreException($"A {what} must be valid Unicode.", error); }
    }

    public static byte[] Value(string key, ReadOnlyMemory<byte> value) => value.Length <= ValueBytesMax
        ? value.ToArray()
        : throw new StoreException($"The value for '{key}' has {value.Length} bytes; {ValueBytesMax} is the limit.");

    public static void Expected(long? expected)
    {
        if (expected < 0)
            throw new StoreException("An expected version is 0 or more.");
    }

    public static int Limit(int limit) => limit is > 0 and <= ListEntriesMax
        ? limit
        : throw new StoreException($"A limit of {limit} is not between 1 and {ListEntriesMax}.");

    public static TimeSpan Ttl(TimeSpan ttl) => ttl > TimeSpan.Zero && ttl <= LeaseTtlMax
        ? ttl
        : throw new StoreException($"A lease of {ttl} is not between 0 and {LeaseTtlMax.TotalHours:0} hours.");
}
