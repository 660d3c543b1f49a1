using System.Buffers.Binary;
using System.Net;
using System.Text;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Recovery;

/// <summary>
/// The whole of what the embedded server says: from a zone and the bytes of a query to the bytes of an answer. It never throws, whatever the
/// bytes are, and never answers more than the asker takes.
/// </summary>
public static class DnsResponder
{
    /// <summary>An option of ours (in the range for local use): the whole set, whatever the choice; read-back asks with it.</summary>
    public const int WholeOption = 65_210;

    /// <summary>Over UDP nothing longer is sent: it passes every path without fragments.</summary>
    private const int UdpMax = 1232;
    private const int TcpMax = 65_535;
    private const int In = 1;

    /// <summary>No answer is more specific than this: a resolver would keep one for every house.</summary>
    private const int ScopeMax4 = 24;
    private const int ScopeMax6 = 56;

    /// <param name="zone">What is answered for; null: nothing, everything is refused.</param>
    /// <param name="query">A message as it came.</param>
    /// <param name="from">Who asks.</param>
    /// <param name="tcp">Whether it came over TCP.</param>
    /// <param name="place">Where an address is; null: unknown.</param>
    /// <param name="chance">Even in 0 to 1, for the choice by weight.</param>
    /// <returns>Null: to be dropped.</returns>
    public static byte[]? Answer(DnsZone? zone, ReadOnlySpan<byte> query, IPAddress from, bool tcp, Func<IPAddress, GeoPoint?> place, double chance)
    {
        if (DnsQuestion.Read(query) is not { } question)
            return null;
        if (question.Code != DnsCode.NoError)
            return Write(question, question.Code, false, [], [], 0, TcpMax);
        if (zone is null || question.Class != In || question.Type is DnsType.Axfr or DnsType.Ixfr || !(question.Name == zone.Name || question.Name.EndsWith("." + zone.Name, StringComparison.Ordinal)))
            return Write(question, DnsCode.Refused, false, [], [], 0, TcpMax);

        var answers = new List<Record>();
        var scope = 0;
        var record = zone.Records.GetValueOrDefault(question.Name);
        foreach (var (type, word) in new[] { (DnsType.A, DnsRecord.A), (DnsType.Aaaa, DnsRecord.Aaaa), (DnsType.Cname, DnsRecord.Cname) })
        {
            var values = record?.Values.Where(v => DnsRecord.TypeOf(v) == word).ToList() ?? [];
            var alias = type == DnsType.Cname && !(question.Name == zone.Name && question.Type is DnsType.Soa or DnsType.Ns);
            if (values.Count == 0 || !(question.Type == type || alias || question.Type == DnsType.Any))
                continue;
            (values, var narrow) = Choose(zone, values, question, from, place, chance);
            scope = Math.Max(scope, narrow);
            answers.AddRange(values.Select(v => new Record(question.Name, type, record!.Ttl, Data(type, v))));
        }
        if (question.Name == zone.Name)
        {
            if (question.Type is DnsType.Soa or DnsType.Any)
                answers.Add(Soa(zone));
            if (question.Type is DnsType.Ns or DnsType.Any)
                answers.AddRange(zone.NameServers.Select(server => new Record(zone.Name, DnsType.Ns, zone.Ttl, Name(server))));
        }
        // How long a resolver may remember that there is nothing stands in the SOA beside the nothing.
        Record[] authority = answers.Count == 0 ? [Soa(zone)] : [];
        var code = answers.Count == 0 && !zone.Has(question.Name) ? DnsCode.NameError : DnsCode.NoError;
        return Write(question, code, true, answers, authority, scope, tcp ? TcpMax : question.Edns ? Math.Min(question.SizeMax, UdpMax) : 512);
    }

    /// <summary>An answer no longer than its query that tells an honest asker to come over TCP; null: to be dropped.</summary>
    public static byte[]? AskOverTcp(ReadOnlySpan<byte> query) =>
        DnsQuestion.Read(query) is { Raw.Length: > 0 } question ? Write(question with { Edns = false }, DnsCode.NoError, false, [], [], 0, 0) : null;

    /// <summary>Which of several values this asker gets, and for how wide a subnet that holds.</summary>
    private static (List<string> Values, int Scope) Choose(DnsZone zone, List<string> values, DnsQuestion question, IPAddress from, Func<IPAddress, GeoPoint?> place, double chance)
    {
        var known = values.Where(zone.Targets.ContainsKey).ToList();
        if (question.Whole || known.Count == 0 || values.Count == 1)
            return (values, 0);
        if (zone.Choice == DnsChoice.Weighted)
        {
            var total = known.Sum(v => (double)zone.Targets[v].Weight);
            var left = Math.Clamp(chance, 0, 1) * total;
            return total <= 0 ? (values, 0) : ([known.FirstOrDefault(v => (left -= zone.Targets[v].Weight) < 0) ?? known.Last(v => zone.Targets[v].Weight > 0)], 0);
        }
        // A prefix of 0 says: do not look at where I am.
        if (zone.Choice == DnsChoice.All || question.Subnet is { Prefix: 0 })
            return (values, 0);
        var scope = question.Subnet is { } subnet ? Math.Min(subnet.Prefix, subnet.Address.GetAddressBytes().Length == 4 ? ScopeMax4 : ScopeMax6) : 0;
        return place(question.Subnet?.Address ?? from) is { } point
            ? ([known.MinBy(v => zone.Targets[v].Location.DistanceKm(point))!], scope)
            : (values, scope);
    }

    private static Record Soa(DnsZone zone)
    {
        var data = new List<byte>();
        data.AddRange(Name(zone.NameServers.Count > 0 ? zone.NameServers[0] : "ns." + zone.Name));
        data.AddRange(Name("hostmaster." + zone.Name));
        Span<byte> numbers = stackalloc byte[20];
        var ttl = (uint)zone.Ttl.TotalSeconds;
        ReadOnlySpan<uint> values = [zone.Serial, 60, 30, 3600, ttl]; // refresh, retry, expire; the last is how long nothing is remembered
        for (var i = 0; i < values.Length; i++)
            BinaryPrimitives.WriteUInt32BigEndian(numbers[(i * 4)..], values[i]);
        data.AddRange(numbers);
        return new(zone.Name, DnsType.Soa, zone.Ttl, [.. data]);
    }

    private static byte[] Data(int type, string value) => type == DnsType.Cname ? Name(value) : IPAddress.Parse(value).GetAddressBytes();

    /// <summary>A name as labels; one that fits into no message becomes the root, which is no name of anybody.</summary>
    private static byte[] Name(string name)
    {
        var labels = name.Length == 0 ? [] : name.Split('.').Select(Encoding.ASCII.GetBytes).ToList();
        if (labels.Any(l => l.Length is 0 or > 63) || labels.Sum(l => l.Length + 1) > 254)
            return [0];
        return [.. labels.SelectMany(l => (byte[])[(byte)l.Length, .. l]), 0];
    }

    private static byte[] Write(DnsQuestion question, DnsCode code, bool authoritative, IReadOnlyList<Record> answers, IReadOnlyList<Record> authority, int scope, int limit)
    {
        var bytes = Message(question, code, authoritative, answers, authority, scope, truncated: false);
        return bytes.Length <= limit ? bytes : Message(question, code, authoritative, [], [], scope, truncated: true);
    }

    private static byte[] Message(DnsQuestion question, DnsCode code, bool authoritative, IReadOnlyList<Record> answers, IReadOnlyList<Record> authority, int scope, bool truncated)
    {
        var to = new List<byte>(512);
        Short(to, question.Id);
        // QR, the asker's opcode and RD, AA, TC, and the low four bits of the code.
        Short(to, 0x8000 | (question.Flags & 0x7900) | (authoritative ? 0x0400 : 0) | (truncated ? 0x0200 : 0) | ((int)code & 15));
        Short(to, question.Raw.Length > 0 ? 1 : 0);
        Short(to, answers.Count);
        Short(to, authority.Count);
        Short(to, question.Edns ? 1 : 0);
        to.AddRange(question.Raw);
        foreach (var record in answers.Concat(authority))
        {
            if (record.Name == question.Name)
                Short(to, 0xC000 | DnsQuestion.HeaderLength); // a pointer to the question's name, in the case the asker wrote it in
            else
                to.AddRange(Name(record.Name));
            Short(to, record.Type);
            Short(to, In);
            Int(to, (uint)Math.Clamp(record.Ttl.TotalSeconds, 0, int.MaxValue));
            Short(to, record.Data.Length);
            to.AddRange(record.Data);
        }
        if (question.Edns)
        {
            to.Add(0);
            Short(to, DnsType.Opt);
            Short(to, UdpMax);
            Int(to, ((uint)code >> 4 << 24) | (question.DnssecOk ? 0x8000u : 0));
            var given = question.Subnet is { } subnet ? subnet.Address.GetAddressBytes()[..((subnet.Prefix + 7) / 8)] : null;
            Short(to, given is null ? 0 : 8 + given.Length);
            if (given is not null)
            {
                Short(to, DnsSubnet.Option);
                Short(to, 4 + given.Length);
                Short(to, question.Subnet!.Address.GetAddressBytes().Length == 4 ? 1 : 2);
                to.Add((byte)question.Subnet.Prefix);
                to.Add((byte)scope);
                to.AddRange(given);
            }
        }
        return [.. to];
    }

    private static void Short(List<byte> to, int value)
    {
        to.Add((byte)(value >> 8));
        to.Add((byte)value);
    }

    private static void Int(List<byte> to, uint value)
    {
        Short(to, (int)(value >> 16));
        Short(to, (int)(value & 0xFFFF));
    }

    private sealed record Record(string Name, int Type, TimeSpan Ttl, byte[] Data);
}
