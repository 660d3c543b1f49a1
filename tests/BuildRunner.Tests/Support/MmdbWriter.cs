using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace BuildRunner.Tests.Support;

/// <summary>Writes a small database in MaxMind's format (IPv6 tree, 24-bit records): networks and a map for each.</summary>
public sealed class MmdbWriter
{
    private readonly List<(byte[] Address, int Length, Dictionary<string, object> Data)> _networks = [];

    public MmdbWriter Add(string network, Dictionary<string, object> data)
    {
        var parsed = IPNetwork.Parse(network);
        var v4 = parsed.BaseAddress.AddressFamily == AddressFamily.InterNetwork;
        // IPv4 lives in the tree's first 96 zero bits.
        var bytes = v4 ? [.. new byte[12], .. parsed.BaseAddress.GetAddressBytes()] : parsed.BaseAddress.GetAddressBytes();
        _networks.Add((bytes, parsed.PrefixLength + (v4 ? 96 : 0), data));
        return this;
    }

    public MmdbWriter AddCity(string network, string country, double latitude, double longitude) => Add(network, new()
    {
        ["country"] = new Dictionary<string, object> { ["iso_code"] = country },
        ["location"] = new Dictionary<string, object> { ["latitude"] = latitude, ["longitude"] = longitude },
    });

    public void Write(string path)
    {
        // Nodes hold two records: an index of a node (>= 0), null (nothing), or data as ~offset.
        var nodes = new List<int?[]> { new int?[2] };
        using var data = new MemoryStream();
        foreach (var (address, length, map) in _networks)
        {
            var offset = (int)data.Position;
            Encode(data, map);
            var at = 0;
            for (var bit = 0; bit < length; bit++)
            {
                var side = (address[bit / 8] >> (7 - (bit % 8))) & 1;
                if (bit == length - 1)
                {
                    nodes[at][side] = ~offset;
                }
                else
                {
                    if (nodes[at][side] is not { } next)
                    {
                        next = nodes.Count;
                        nodes[at][side] = next;
                        nodes.Add(new int?[2]);
                    }
                    at = next;
                }
            }
        }

        using var file = new MemoryStream();
        foreach (var node in nodes)
        {
            foreach (var record in node)
            {
                var value = record is not { } r ? nodes.Count : r >= 0 ? r : nodes.Count + 16 + ~r;
                file.Write([(byte)(value >> 16), (byte)(value >> 8), (byte)value]);
            }
        }
        file.Write(new byte[16]);
        data.WriteTo(file);
        file.Write([0xAB, 0xCD, 0xEF]);
        file.Write("MaxMind.com"u8);
        Encode(file, new Dictionary<string, object>
        {
            ["node_count"] = (uint)nodes.Count,
            ["record_size"] = (ushort)24,
            ["ip_version"] = (ushort)6,
            ["database_type"] = "Test-City",
            ["languages"] = new List<object> { "en" },
            ["binary_format_major_version"] = (ushort)2,
            ["binary_format_minor_version"] = (ushort)0,
            ["build_epoch"] = 1_700_000_000UL,
            ["description"] = new Dictionary<string, object> { ["en"] = "made by a test" },
        });
        File.WriteAllBytes(path, file.ToArray());
    }

    private static void Encode(Stream to, object value)
    {
        switch (value)
        {
            case string text:
                var bytes = Encoding.UTF8.GetBytes(text);
                Control(to, 2, bytes.Length);
                to.Write(bytes);
                break;
            case double number:
                Control(to, 3, 8);
                Span<byte> eight = stackalloc byte[8];
                BinaryPrimitives.WriteDoubleBigEndian(eight, number);
                to.Write(eight);
                break;
            case ushort small:
                Number(to, 5, small);
                break;
            case uint number:
                Number(to, 6, number);
                break;
            case ulong large:
                Number(to, 9, large);
                break;
            case Dictionary<string, object> map:
                Control(to, 7, map.Count);
                foreach (var (key, item) in map)
                {
                    Encode(to, key);
                    Encode(to, item);
                }
                break;
            case List<object> list:
                Control(to, 11, list.Count);
                foreach (var item in list)
                    Encode(to, item);
                break;
            default:
                throw new NotSupportedException(value.GetType().Name);
        }
    }

    private static void Number(Stream to, int type, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        var used = bytes.TrimStart((byte)0);
        Control(to, type, used.Length);
        to.Write(used);
    }

    private static void Control(Stream to, int type, int size)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(size, 284);
        var length = size < 29 ? size : 29;
        to.WriteByte((byte)((type < 8 ? type << 5 : 0) | length));
        if (type >= 8)
            to.WriteByte((byte)(type - 7));
        if (size >= 29)
            to.WriteByte((byte)(size - 29));
    }
}
