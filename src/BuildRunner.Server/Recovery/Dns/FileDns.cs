using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>Keeps the records in a file (`dns.file`), one `NAME TTL IN TYPE VALUE` a line, for a name server or a tool of the user's own to pick up.</summary>
internal sealed class FileDns(IPolicySource policy) : IDnsDriver
{
    public string Name => "file";

    public IReadOnlyList<string> Zones => [policy.Current.Dns.Name];

    private string File => policy.Current.Dns.File ?? throw new InvalidOperationException("The policy's dns.driver is `file`, and dns.file names none.");

    public Task SetAsync(DnsRecordSet set, Fence? fence, CancellationToken cancel) => ReplaceAsync(set.Name, set.Type,
        set.Addresses.Select(address => string.Create(CultureInfo.InvariantCulture, $"{set.Name}. {(int)set.Ttl.TotalSeconds} IN {set.Type} {address}")), cancel);

    public Task ClearAsync(string name, string type, Fence? fence, CancellationToken cancel) => ReplaceAsync(name, type, [], cancel);

    public async Task<IReadOnlyList<DnsReading>> ReadBackAsync(string name, string type, CancellationToken cancel)
    {
        try { return [new(File, [.. (await LinesAsync(cancel)).Where(line => Is(line, name, type)).Select(line => line.Split(' ')[4])], null)]; }
        catch (IOException error) { return [new(File, null, error.Message)]; }
    }

    private async Task ReplaceAsync(string name, string type, IEnumerable<string> lines, CancellationToken cancel)
    {
        var before = await LinesAsync(cancel);
        var after = before.Where(line => !Is(line, name, type)).Concat(lines).ToList();
        if (!before.SequenceEqual(after))
            AtomicFile.Write(File, string.Concat(after.Select(line => line + "\n")));
    }

    private async Task<string[]> LinesAsync(CancellationToken cancel) =>
        System.IO.File.Exists(File) ? [.. (await System.IO.File.ReadAllLinesAsync(File, cancel)).Where(line => line.Split(' ').Length == 5)] : [];

    private static bool Is(string line, string name, string type) => line.Split(' ') is [var owner, _, _, var kind, _] && owner == name + "." && kind == type;
}
