using System.Buffers.Binary;
using System.Net;

namespace BuildRunner.Dev;

/// <summary>Who listens on this machine, read from /proc/net/tcp; IPv4 only, as the sandbox is.</summary>
internal static class ListeningPorts
{
    private const string Listening = "0A";

    /// <summary>All listening addresses with their socket's inode. The kernel lists listeners before connections, so reading stops early.</summary>
    public static Dictionary<(uint Address, int Port), long> Read()
    {
        var found = new Dictionary<(uint, int), long>();
        foreach (var line in File.ReadLines("/proc/net/tcp").Skip(1))
        {
            var row = line.AsSpan().TrimStart();
            row = row[(row.IndexOf(' ') + 1)..];
            if (row.Length < 80 || !row[28..30].SequenceEqual(Listening))
                break;
            var address = BinaryPrimitives.ReverseEndianness(uint.Parse(row[..8], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
            var port = int.Parse(row[9..13], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            var fields = row.ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries);
            found[(address, port)] = long.Parse(fields[8], CultureInfo.InvariantCulture);
        }
        return found;
    }

    public static uint Number(IPAddress address) => BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes());

    /// <summary>Inode of the socket that stands in the way of listening on an address; null: it is free.</summary>
    public static long? Holder(IReadOnlyDictionary<(uint Address, int Port), long> listening, IPAddress address, int port) =>
        listening.TryGetValue((Number(address), port), out var inode) || listening.TryGetValue((0u, port), out inode) ? inode : null;

    /// <summary>`pid 123 (postgres)` for a socket, as far as this user may see.</summary>
    public static string Owner(long inode)
    {
        var wanted = $"socket:[{inode}]";
        foreach (var process in ProcessTable.All())
        {
            try
            {
                if (Directory.EnumerateFiles($"/proc/{process.Id}/fd").Any(fd => new FileInfo(fd).LinkTarget == wanted))
                    return $"process {process.Id} ({process.Name})";
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException) { } // gone, or not ours to see
        }
        return "a process that this user may not see";
    }
}
