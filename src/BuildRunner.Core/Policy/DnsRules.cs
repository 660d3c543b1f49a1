namespace BuildRunner.Core.Policy;

/// <summary>The section `dns`.</summary>
public sealed record DnsRules
{
    public const string None = "none";
    public const string Embedded = "embedded";
    public const string Zonefile = "file";
    public const string Rfc2136 = "rfc2136";
    public const string Cloudflare = "cloudflare";
    public const string Exec = "exec";

    /// <summary>Who keeps the records: one of the words above.</summary>
    public string Driver { get; init; } = None;

    /// <summary>Name that users resolve; `primary.NAME` follows the primary.</summary>
    public string Name { get; init; } = "";
    public TimeSpan Ttl { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Addresses (or one host name) that users reach a region's gateway at, by region; without an entry: the host of its `endpoint`.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>> Addresses { get; init; } = new Dictionary<string, IReadOnlyList<string>>();

    /// <summary>Shares of users by region; 0: not given to users while another region lives. Default: 100.</summary>
    public IReadOnlyDictionary<string, int> Weights { get; init; } = new Dictionary<string, int>();

    /// <summary>Authoritative servers to read back from; empty: found by looking the zone's NS records up.</summary>
    public IReadOnlyList<string> Servers { get; init; } = [];

    /// <summary>Resolvers that are watched and never waited for before traffic resumes.</summary>
    public IReadOnlyList<string> Resolvers { get; init; } = [];

    /// <summary>How often records that are well are read back: what somebody changed by hand is found and put back within it.</summary>
    public TimeSpan CheckInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Where `embedded` answers.</summary>
    public string Listen { get; init; } = "127.0.0.1:8453";

    /// <summary>Which of several live gateways `embedded` answers with.</summary>
    public DnsChoice Answers { get; init; } = DnsChoice.Nearest;

    /// <summary>Host names of the servers that `embedded` names in NS and SOA; empty: `ns.NAME` at the address of `listen`.</summary>
    public IReadOnlyList<string> NameServers { get; init; } = [];

    /// <summary>What `file` writes.</summary>
    public string? File { get; init; }
    public Rfc2136Rules Update { get; init; } = new();
    public CloudflareRules CloudflareApi { get; init; } = new();
    public DnsExecRules Command { get; init; } = new();
}

/// <summary>How a server chooses among several addresses of one name.</summary>
public enum DnsChoice
{
    /// <summary>The live gateway nearest the asker, by EDNS client subnet or else the resolver's own address; all when nobody knows where that is.</summary>
    Nearest,

    /// <summary>One, with the chances of `weights`.</summary>
    Weighted,
    All,
}

/// <summary>The section `dns.rfc2136`: dynamic update, signed with TSIG.</summary>
public sealed record Rfc2136Rules
{
    /// <summary>The zone's primary server, which takes updates: host or host:port.</summary>
    public string? Server { get; init; }

    /// <summary>Null: the zone that the server says NAME lies in.</summary>
    public string? Zone { get; init; }
    public string KeyName { get; init; } = "buildrunner";
    public string KeyAlgorithm { get; init; } = "hmac-sha256";

    /// <summary>A reference (`env:NAME`, `file:PATH`) to the key in base64.</summary>
    public string? Key { get; init; }
}

/// <summary>The section `dns.cloudflare`.</summary>
public sealed record CloudflareRules
{
    public string Api { get; init; } = "https://api.cloudflare.com/client/v4";

    /// <summary>Null: looked up by name, for which the token needs Zone Read.</summary>
    public string? ZoneId { get; init; }

    /// <summary>A reference (`env:NAME`, `file:PATH`) to an API token with DNS Write on the zone.</summary>
    public string? Token { get; init; }
}

/// <summary>The section `dns.exec`.</summary>
public sealed record DnsExecRules
{
    /// <summary>The program and its arguments; no shell reads them.</summary>
    public IReadOnlyList<string> Command { get; init; } = [];
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(10);
}
