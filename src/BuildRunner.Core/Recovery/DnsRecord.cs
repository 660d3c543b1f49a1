using System.Net;
using System.Net.Sockets;

namespace BuildRunner.Core.Recovery;

/// <summary>Everything a name answers: addresses of both families, or one host name (a CNAME), which stands alone.</summary>
/// <param name="Name">In lower case, without the last dot.</param>
/// <param name="Ttl">How long a resolver may keep it.</param>
/// <param name="Values">In the form of <see cref="Canonical"/>, sorted; empty: the name has no address.</param>
public sealed record DnsRecord(string Name, TimeSpan Ttl, IReadOnlyList<string> Values)
{
    public const string A = "A";
    public const string Aaaa = "AAAA";
    public const string Cname = "CNAME";

    /// <summary>The types that a name of ours can have; a write replaces all of them.</summary>
    public static IReadOnlyList<string> Types { get; } = [A, Aaaa, Cname];

    public static DnsRecord Of(string name, TimeSpan ttl, IEnumerable<string> values) =>
        new(Canonical(name), ttl, [.. values.Select(Canonical).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)]);

    public static string TypeOf(string value) =>
        !IPAddress.TryParse(value, out var address) ? Cname : address.AddressFamily == AddressFamily.InterNetwork ? A : Aaaa;

    /// <summary>An address in its usual form, or a host name in lower case without its last dot.</summary>
    public static string Canonical(string value) => IPAddress.TryParse(value, out var address) ? address.ToString() : value.TrimEnd('.').ToLowerInvariant();

    /// <summary>Whether a server that answers these values answers this record.</summary>
    public bool Is(IReadOnlyList<string> values) => values.Count == Values.Count && values.Select(Canonical).ToHashSet(StringComparer.Ordinal).SetEquals(Values);

    /// <summary>For a sentence: the values, or `nothing`.</summary>
    public static string Said(IReadOnlyList<string> values) => values.Count == 0 ? "nothing" : string.Join(", ", values);
}
