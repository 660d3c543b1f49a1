using BuildRunner.Core.Recovery;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>Where names are kept. A set is done when every authoritative server answers it; resolvers are never waited for.</summary>
internal interface IDnsDriver
{
    /// <summary>As the policy's `dns.driver` names it.</summary>
    string Name { get; }

    /// <summary>Zones that it may write.</summary>
    IReadOnlyList<string> Zones { get; }

    /// <summary>Replaces the records of a name and type; repeatable.</summary>
    Task SetAsync(DnsRecordSet set, Fence? fence, CancellationToken cancel);

    /// <summary>Removes the records of a name and type; repeatable.</summary>
    Task ClearAsync(string name, string type, Fence? fence, CancellationToken cancel);

    /// <summary>Takes over what another server of the house has written.</summary>
    Task RefreshAsync(CancellationToken cancel) => Task.CompletedTask;

    /// <summary>What each authoritative server answers now.</summary>
    Task<IReadOnlyList<DnsReading>> ReadBackAsync(string name, string type, CancellationToken cancel);
}

/// <summary>An authoritative server's answer; null addresses: none came, and why.</summary>
internal sealed record DnsReading(string Server, IReadOnlyList<string>? Addresses, string? Error);
