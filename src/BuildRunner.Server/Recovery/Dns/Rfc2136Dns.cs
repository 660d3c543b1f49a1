using System.Net;
using System.Net.Sockets;
using ARSoft.Tools.Net;
using ARSoft.Tools.Net.Dns;
using ARSoft.Tools.Net.Dns.DynamicUpdate;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// Dynamic update (RFC 2136) signed with TSIG (RFC 8945), for BIND, Knot, PowerDNS and others. Beside each name of ours stands a TXT record
/// `_buildrunner.NAME` with the token of the server that wrote last; an update carries what was read of it as a prerequisite, so that of two servers
/// that write at once one is refused, and the one with the older token does not even ask.
/// </summary>
internal sealed class Rfc2136Dns(IPolicySource policy, AuthoritativeServers servers, TimeProvider time) : IDnsDriver
{
    private const string Mark = "buildrunner token=";
    private const int MarkTtl = 60;
    private const int TimeoutMs = 3000;
    private const int BadSignature = 16;
    private const int BadKey = 17;
    private const int BadTime = 18;
    private static readonly TimeSpan Fudge = TimeSpan.FromMinutes(5);

    public string Name => DnsRules.Rfc2136;

    public Task<IReadOnlyList<DnsReading>> ReadAsync(string name, CancellationToken cancel) => servers.ReadAsync(name, cancel);

    public async Task<DnsWrite> ApplyAsync(DnsRecord record, Fence? fence, CancellationToken cancel)
    {
        var rules = policy.Current.Dns.Update;
        if (rules.Server is not { } written || rules.Key is not { } reference)
            return DnsWrite.Fail(DnsFaultKind.Misconfigured, "policy", "`dns.driver: rfc2136` has no server or no key.", "Write `dns.rfc2136.server` and `dns.rfc2136.key`.");
        var (secret, unread) = SecretText.Resolve(reference);
        var key = new byte[512];
        if (secret is null || !Convert.TryFromBase64String(secret.Trim(), key, out var length) || length == 0)
            return DnsWrite.Fail(DnsFaultKind.Misconfigured, "policy", unread ?? "What `dns.rfc2136.key` refers to is no key in base64.", "Put the key's `secret`, as `tsig-keygen` prints it, into the variable or file.");
        IPEndPoint server;
        try { server = (await DnsAsk.ResolveAsync(written, cancel))[0]; }
        catch (Exception error) when (error is SocketException or ArgumentOutOfRangeException)
        {
            return DnsWrite.Fail(DnsFaultKind.Unreachable, written, $"{written} has no address here.", "Write the server's address under `dns.rfc2136.server`.");
        }

        var owner = DomainName.Parse(record.Name);
        var marker = DomainName.Parse("_buildrunner." + record.Name);
        var (zone, noZone) = rules.Zone is { } named ? (DomainName.Parse(named), null) : await ZoneAsync(server, marker, record.Name, cancel);
        if (zone is null)
            return noZone!;
        var (now, ttl) = await DnsAsk.ValuesAsync(server, record.Name, authoritative: true, cancel);
        var mark = await DnsAsk.AnswerAsync(server, marker, RecordType.Txt, recurse: false, cancel);
        if (now.Values is not { } values || mark is null)
            return DnsWrite.Fail(DnsFaultKind.Unreachable, server.ToString(), $"{server} does not answer for {record.Name}: {now.Error ?? "no answer"}.", "See that it runs, that it keeps the zone, and that port 53 (UDP and TCP) is open from the server of BuildRunner.");

        var texts = mark.AnswerRecords.OfType<TxtRecord>().ToList();
        var token = texts.Select(TokenOf).Max() is { } known ? known : (long?)null;
        var mine = fence?.Token ?? 0;
        if (texts.Count > 0 && (texts.Count > 1 || token is null))
            return DnsWrite.Fail(DnsFaultKind.Foreign, server.ToString(), $"{marker} holds text that BuildRunner did not write.", $"Remove the TXT records of {marker}.");
        if (token > mine)
            return DnsWrite.Fail(DnsFaultKind.Superseded, server.ToString(), $"A server with the later token {token} has written {record.Name}, and ours is {mine}.", $"Nothing is to be done when another server leads; after the loss of the server's state, remove the TXT record {marker}.");
        if (token is null && values.Count > 0 && !record.Is(values))
            return DnsWrite.Fail(DnsFaultKind.Foreign, server.ToString(), $"{record.Name} answers {DnsRecord.Said(values)}, and BuildRunner did not write that.", $"Remove its records, or hand the name over with a TXT record {marker} \"{Mark}0\".");
        if (token == mine && record.Is(values) && (ttl is null || ttl == record.Ttl))
            return new DnsWrite.Done(Changed: false);

        var update = Update(zone, record, owner, marker, texts, values, mine);
        update.TSigOptions = new TSigRecord(DomainName.Parse(rules.KeyName), Algorithm(rules.KeyAlgorithm), time.GetUtcNow().UtcDateTime, Fudge, update.TransactionID, ReturnCode.NoError, null, key[..length]);
        using var client = new DnsClient([server.Address], [new TcpClientTransport(server.Port)], true, TimeoutMs);
        var answer = await client.SendUpdateAsync(update, cancel);
        return Judge(answer, server, zone, record, rules);
    }

    private static DnsUpdateMessage Update(DomainName zone, DnsRecord record, DomainName owner, DomainName marker, List<TxtRecord> texts, IReadOnlyList<string> values, long mine)
    {
        var update = new DnsUpdateMessage { ZoneName = zone };
        if (texts is [var text])
            update.Prequisites.Add(new RecordExistsValueDependantPrequisite(text));
        else
            update.Prequisites.Add(new RecordNotExistsPrequisite(marker, RecordType.Txt));
        if (texts.Count == 0 && values.Count == 0)
            update.Prequisites.AddRange(((RecordType[])[RecordType.A, RecordType.Aaaa, RecordType.CName]).Select(type => new RecordNotExistsPrequisite(owner, type)));

        update.Updates.Add(new DeleteAllRecordsUpdate(marker, RecordType.Txt));
        update.Updates.Add(new AddRecordUpdate(new TxtRecord(marker, MarkTtl, string.Create(CultureInfo.InvariantCulture, $"{Mark}{mine}"))));
        update.Updates.AddRange(((RecordType[])[RecordType.A, RecordType.Aaaa, RecordType.CName]).Select(type => new DeleteAllRecordsUpdate(owner, type)));
        update.Updates.AddRange(record.Values.Select(value => new AddRecordUpdate(Record(owner, (int)record.Ttl.TotalSeconds, value))));
        return update;
    }

    private static DnsWrite Judge(DnsUpdateMessage? answer, IPEndPoint server, DomainName zone, DnsRecord record, Rfc2136Rules rules)
    {
        var at = server.ToString();
        if (answer is null)
            return DnsWrite.Fail(DnsFaultKind.Unreachable, at, $"{at} did not answer an update of {record.Name} within {TimeoutMs / 1000} s.", "See that it runs and that port 53/tcp is open from the server of BuildRunner; it may have written it all the same, which is read back.");
        var signed = (int?)answer.TSigOptions?.Error;
        return answer.ReturnCode switch
        {
            ReturnCode.NoError when answer.TSigOptions is { ValidationResult: ReturnCode.NoError } => new DnsWrite.Done(Changed: true),
            ReturnCode.NoError => DnsWrite.Fail(DnsFaultKind.WrongKey, at, $"{at} said yes to an update of {record.Name}, and its answer is not signed with the key {rules.KeyName}.", "Give both sides the same key; somebody may stand between."),
            _ when signed == BadKey => DnsWrite.Fail(DnsFaultKind.WrongKey, at, $"{at} does not accept the key {rules.KeyName} ({rules.KeyAlgorithm}): it does not know it, or does not let it change {record.Name}.", "Write the key's name and algorithm as the server has them under `dns.rfc2136.key_name` and `key_algorithm`, or add the key there and grant it A, AAAA, CNAME and TXT of the name and of `_buildrunner.NAME`."),
            _ when signed == BadSignature => DnsWrite.Fail(DnsFaultKind.WrongKey, at, $"{at} knows the key {rules.KeyName}, and its secret is not the one that `dns.rfc2136.key` refers to.", "Put the server's secret for that key into the variable or file."),
            _ when signed == BadTime => DnsWrite.Fail(DnsFaultKind.WrongKey, at, $"The clocks of {at} and of the server of BuildRunner are more than {Fudge.TotalMinutes:0} min apart.", "Set both by NTP."),
            ReturnCode.Refused => DnsWrite.Fail(DnsFaultKind.Refused, at, $"{at} does not let the key {rules.KeyName} change {record.Name}.", $"Grant it A, AAAA, CNAME and TXT of {record.Name} and _buildrunner.{record.Name}: `update-policy` or `allow-update` in BIND, an `acl` with `action: update` in Knot."),
            ReturnCode.NotAuthoritive => DnsWrite.Fail(DnsFaultKind.NotAuthoritative, at, $"{at} is not authoritative for the zone {zone}.", "Write the zone's primary server under `dns.rfc2136.server`, and the zone under `dns.rfc2136.zone`."),
            ReturnCode.NotZone => DnsWrite.Fail(DnsFaultKind.NotAuthoritative, at, $"{record.Name} does not lie in the zone {zone}.", "Write the zone that holds it under `dns.rfc2136.zone`."),
            ReturnCode.NotImplemented => DnsWrite.Fail(DnsFaultKind.Refused, at, $"{at} takes no updates.", "Write the zone's primary server under `dns.rfc2136.server`."),
            ReturnCode.NXRRSet or ReturnCode.YXRRSet or ReturnCode.NxDomain or ReturnCode.YXDomain => DnsWrite.Fail(DnsFaultKind.Conflict, at, $"{record.Name} changed at {at} while it was being written.", "It is read and written again; if this stays, see who else writes it."),
            var other => DnsWrite.Fail(DnsFaultKind.Failed, at, $"{at} answered an update of {record.Name} with {other.ToString().ToUpperInvariant()}.", "Its log says why."),
        };
    }

    /// <summary>Asks at the marker, which never is a CNAME: at one the answer would be that and no zone.</summary>
    private static async Task<(DomainName? Zone, DnsWrite? Fault)> ZoneAsync(IPEndPoint server, DomainName marker, string name, CancellationToken cancel)
    {
        var answer = await DnsAsk.AnswerAsync(server, marker, RecordType.Soa, recurse: false, cancel);
        if (answer is null)
            return (null, DnsWrite.Fail(DnsFaultKind.Unreachable, server.ToString(), $"{server} does not answer.", "See that it runs, and that port 53 (UDP and TCP) is open from the server of BuildRunner."));
        var soa = answer.AnswerRecords.Concat(answer.AuthorityRecords).OfType<SoaRecord>().FirstOrDefault();
        return soa is not null && answer.IsAuthoritiveAnswer
            ? (soa.Name, null)
            : (null, DnsWrite.Fail(DnsFaultKind.NotAuthoritative, server.ToString(), $"{server} keeps no zone with {name} in it ({answer.ReturnCode.ToString().ToUpperInvariant()}).", "Write the zone's primary server under `dns.rfc2136.server`."));
    }

    private static long? TokenOf(TxtRecord text) =>
        text.TextData.StartsWith(Mark, StringComparison.Ordinal) && long.TryParse(text.TextData[Mark.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out var token) ? token : null;

    private static DnsRecordBase Record(DomainName owner, int ttl, string value) => DnsRecord.TypeOf(value) switch
    {
        DnsRecord.A => new ARecord(owner, ttl, IPAddress.Parse(value)),
        DnsRecord.Aaaa => new AaaaRecord(owner, ttl, IPAddress.Parse(value)),
        _ => new CNameRecord(owner, ttl, DomainName.Parse(value)),
    };

    private static TSigAlgorithm Algorithm(string name) => name switch
    {
        "hmac-sha384" => TSigAlgorithm.Sha384,
        "hmac-sha512" => TSigAlgorithm.Sha512,
        _ => TSigAlgorithm.Sha256,
    };
}
