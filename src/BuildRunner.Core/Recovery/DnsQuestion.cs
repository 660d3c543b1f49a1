using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace BuildRunner.Core.Recovery;

/// <summary>A query as it came over the wire (RFC 1035, EDNS(0) of RFC 6891, client subnet of RFC 7871), or what is wrong with it.</summary>
internal sealed record DnsQuestion
{
    public const int HeaderLength = 12;

    /// <summary>A query has one question and one OPT; more records than this are nobody's honest query.</summary>
    private const int RecordsMax = 16;

    public required ushort Id { get; init; }

    /// <summary>Flags as they came, for opcode and RD.</summary>
    public required ushort Flags { get; init; }
    public DnsCode Code { get; init; }

    /// <summary>In lower case, without the last dot; a label's odd bytes are escaped, so that they match no name of ours.</summary>
    public string Name { get; init; } = "";
    public int Type { get; init; }
    public int Class { get; init; }

    /// <summary>Name, type and class as they came; empty: unreadable.</summary>
    public byte[] Raw { get; init; } = [];
    public bool Edns { get; init; }
    public bool DnssecOk { get; init; }

    /// <summary>What the asker takes over UDP.</summary>
    public int SizeMax { get; init; } = 512;
    public DnsSubnet? Subnet { get; init; }

    /// <summary>Our own read-back: the whole set, whatever the choice.</summary>
    public bool Whole { get; init; }

    /// <summary>Null: no query at all, to be dropped in silence (a response must never be answered).</summary>
    public static DnsQuestion? Read(ReadOnlySpan<byte> message)
    {
        if (message.Length < HeaderLength || (message[2] & 0x80) != 0)
            return null;
        var head = new DnsQuestion { Id = Short(message), Flags = Short(message[2..]) };
        if (((head.Flags >> 11) & 15) != 0)
            return head with { Code = DnsCode.NotImplemented };
        if (Short(message[4..]) != 1 || !TryName(message, out var name, out var at) || at + 4 > message.Length)
            return head with { Code = DnsCode.FormatError };
        var question = head with { Name = name, Type = Short(message[at..]), Class = Short(message[(at + 2)..]), Raw = message[HeaderLength..(at + 4)].ToArray() };
        var records = Short(message[6..]) + Short(message[8..]) + Short(message[10..]);
        var rest = message[(at + 4)..];
        if (records > RecordsMax)
            return question with { Code = DnsCode.FormatError };
        for (var i = 0; i < records; i++)
        {
            if (!TrySkipName(ref rest) || rest.Length < 10)
                return question with { Code = DnsCode.FormatError };
            var (type, length) = (Short(rest), Short(rest[8..]));
            if (rest.Length < 10 + length)
                return question with { Code = DnsCode.FormatError };
            if (type == DnsType.Opt)
            {
                question = question.Edns ? question with { Code = DnsCode.FormatError } : Option(question, rest[2..], rest.Slice(10, length));
                if (question.Code == DnsCode.FormatError)
                    return question;
            }
            rest = rest[(10 + length)..];
        }
        return question;
    }

    private static DnsQuestion Option(DnsQuestion question, ReadOnlySpan<byte> fields, ReadOnlySpan<byte> options)
    {
        // fields: class (the size), then the "ttl": extended code, version, flags.
        question = question with { Edns = true, SizeMax = Math.Max(512, (int)Short(fields)), DnssecOk = (fields[4] & 0x80) != 0, Code = fields[3] != 0 ? DnsCode.BadVersion : question.Code };
        while (options.Length > 0)
        {
            if (options.Length < 4 || options.Length < 4 + Short(options[2..]))
                return question with { Code = DnsCode.FormatError };
            var code = Short(options);
            var data = options.Slice(4, Short(options[2..]));
            if (code == DnsResponder.WholeOption)
                question = question with { Whole = true };
            if (code == DnsSubnet.Option)
            {
                if (DnsSubnet.Read(data) is not { } subnet)
                    return question with { Code = DnsCode.FormatError };
                question = question with { Subnet = subnet };
            }
            options = options[(4 + data.Length)..];
        }
        return question;
    }

    /// <summary>The question's name: labels only, since nothing stands before it that a pointer could name.</summary>
    private static bool TryName(ReadOnlySpan<byte> message, out string name, out int end)
    {
        var text = new StringBuilder();
        (name, end) = ("", HeaderLength);
        while (end < message.Length)
        {
            int length = message[end++];
            if (length == 0)
            {
                name = text.ToString();
                return true;
            }
            if (length > 63 || end + length > message.Length || end - HeaderLength + length > 254)
                return false;
            if (text.Length > 0)
                text.Append('.');
            foreach (var b in message.Slice(end, length))
            {
                if (b is > 0x20 and < 0x7f and not (byte)'.' and not (byte)'\\')
                    text.Append(char.ToLowerInvariant((char)b));
                else
                    text.Append(CultureInfo.InvariantCulture, $"\\{b:000}");
            }
            end += length;
        }
        return false;
    }

    private static bool TrySkipName(ref ReadOnlySpan<byte> rest)
    {
        while (rest.Length > 0)
        {
            int length = rest[0];
            if (length >= 0xC0)
            {
                if (rest.Length < 2)
                    return false;
                rest = rest[2..];
                return true;
            }
            if (length > 63 || rest.Length < 1 + length)
                return false;
            rest = rest[(1 + length)..];
            if (length == 0)
                return true;
        }
        return false;
    }

    private static ushort Short(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt16BigEndian(bytes);
}

/// <summary>A client subnet (RFC 7871): whose users a resolver asks for.</summary>
/// <param name="Address">With the bits past the prefix zero.</param>
/// <param name="Prefix">How many bits the asker gave; 0: do not look at where I am.</param>
internal sealed record DnsSubnet(IPAddress Address, int Prefix)
{
    public const int Option = 8;

    /// <summary>Null: malformed, which RFC 7871 answers with FORMERR.</summary>
    public static DnsSubnet? Read(ReadOnlySpan<byte> data)
    {
        if (data.Length < 4)
            return null;
        var bytes = BinaryPrimitives.ReadUInt16BigEndian(data) switch { 1 => 4, 2 => 16, _ => 0 };
        int prefix = data[2];
        var given = data[4..];
        if (bytes == 0 || prefix > bytes * 8 || data[3] != 0 || given.Length != (prefix + 7) / 8)
            return null;
        if (prefix % 8 != 0 && (given[^1] & (0xFF >> (prefix % 8))) != 0)
            return null;
        Span<byte> whole = stackalloc byte[bytes];
        whole.Clear();
        given.CopyTo(whole);
        return new(new IPAddress(whole), prefix);
    }
}

/// <summary>Answers' codes.</summary>
internal enum DnsCode
{
    NoError = 0,
    FormatError = 1,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
    BadVersion = 16,
}

internal static class DnsType
{
    public const int A = 1;
    public const int Ns = 2;
    public const int Cname = 5;
    public const int Soa = 6;
    public const int Aaaa = 28;
    public const int Opt = 41;
    public const int Ixfr = 251;
    public const int Axfr = 252;
    public const int Any = 255;
}
