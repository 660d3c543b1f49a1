using System.Diagnostics;
using System.Net;

namespace BuildRunner.Dev;

/// <summary>
/// Silence as a network makes it: the kernel drops a region's packets to and from the relays' addresses (nftables), so that nothing is acknowledged and
/// connections live by their own timeouts. Root only. What it drops is named by address and port, and ends in the kernel by itself.
/// </summary>
internal static class PacketFilter
{
    private static readonly string[] Places = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
    private static readonly TimeSpan NftMax = TimeSpan.FromSeconds(5);

    /// <summary>Longest silence when nobody says how long: a supervisor that is killed mends nothing.</summary>
    public static readonly TimeSpan LimitMax = TimeSpan.FromMinutes(15);

    /// <summary>Why it cannot be done here; null: it can.</summary>
    public static string? WhyNot() =>
        !Environment.IsPrivilegedProcess ? "only root may filter packets"
        : Places.FirstOrDefault(File.Exists) is null ? "there is no nft here (package nftables)"
        : null;

    /// <summary>Drops what the links of a region carry from now on.</summary>
    /// <exception cref="InvalidOperationException">It cannot be done here.</exception>
    public static void Cut(DevRegion region, Silence way, IEnumerable<(Link Link, IPEndPoint At)> relays, TimeSpan limit)
    {
        if (WhyNot() is { } why)
            throw new InvalidOperationException($"Packets cannot be filtered here: {why}.");
        var table = TableOf(region);
        Run($"{Gone(table)}{Script(table, region.Number, way, relays, limit)}");
    }

    /// <summary>Takes the filter away; fine when there is none.</summary>
    public static void Mend(DevRegion region) => Run(Gone(TableOf(region)));

    /// <summary>The filter's text. A packet to a relay goes from the link's viewer to its target, one from a relay the other way.</summary>
    internal static string Script(string table, int region, Silence way, IEnumerable<(Link Link, IPEndPoint At)> relays, TimeSpan limit)
    {
        var (there, back) = (new List<string>(), new List<string>());
        foreach (var (link, at) in relays)
        {
            var element = string.Create(CultureInfo.InvariantCulture, $"{at.Address} . {at.Port} timeout {(long)limit.TotalMilliseconds}ms");
            if (IsLost(to: link.Target, from: link.Viewer))
                there.Add(element);
            if (IsLost(to: link.Viewer, from: link.Target))
                back.Add(element);
        }
        return $$"""
            table ip {{table}} {
              set there { type ipv4_addr . inet_service; flags timeout; {{Elements(there)}} }
              set back { type ipv4_addr . inet_service; flags timeout; {{Elements(back)}} }
              chain lost { type filter hook input priority -200; policy accept; ip daddr . tcp dport @there drop; ip saddr . tcp sport @back drop; }
            }

            """;

        bool IsLost(int to, int from) => (to == region && way != Silence.Out) || (from == region && way != Silence.In);
    }

    private static string Elements(List<string> elements) => elements.Count == 0 ? "" : $"elements = {{ {string.Join(", ", elements)} }}";

    private static string TableOf(DevRegion region) => string.Create(CultureInfo.InvariantCulture, $"buildrunner_dev_{Environment.ProcessId}_{region.Number}");

    private static string Gone(string table) => $"table ip {table} {{}}\ndelete table ip {table}\n";

    private static void Run(string script)
    {
        var start = new ProcessStartInfo(Places.First(File.Exists), ["-f", "-"]) { RedirectStandardInput = true, RedirectStandardError = true };
        using var process = Process.Start(start) ?? throw new InvalidOperationException("nft did not start.");
        process.StandardInput.Write(script);
        process.StandardInput.Close();
        var wrong = process.StandardError.ReadToEnd();
        if (!process.WaitForExit(NftMax) || process.ExitCode != 0)
            throw new InvalidOperationException($"nft failed: {wrong.Trim().ReplaceLineEndings(" ")}");
    }
}
