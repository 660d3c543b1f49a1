using BuildRunner.Core.Recovery;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>Where names are kept. A record is done when every authoritative server answers it; resolvers are never waited for.</summary>
internal interface IDnsDriver
{
    /// <summary>As the policy's `dns.driver` names it.</summary>
    string Name { get; }

    /// <summary>
    /// Replaces all A, AAAA and CNAME records of a name, at once where the other side can; repeatable. Records of other names, and what the
    /// house did not write, are left alone. A token lower than the one that wrote last changes nothing.
    /// </summary>
    Task<DnsWrite> ApplyAsync(DnsRecord record, Fence? fence, CancellationToken cancel);

    /// <summary>What each authoritative server answers now.</summary>
    Task<IReadOnlyList<DnsReading>> ReadAsync(string name, CancellationToken cancel);

    /// <summary>Takes over what another server of the house has written, and the policy's changes. Called at every pass, also when another driver is chosen.</summary>
    Task RefreshAsync(CancellationToken cancel) => Task.CompletedTask;
}

/// <summary>How a write ended.</summary>
internal abstract record DnsWrite
{
    private DnsWrite() { }

    /// <param name="Changed">False: it was so already.</param>
    public sealed record Done(bool Changed) : DnsWrite;

    public sealed record Failed(DnsFault Fault) : DnsWrite;

    public static DnsWrite Fail(DnsFaultKind kind, string server, string message, string fix) => new Failed(new(kind, server, message, fix));
}
