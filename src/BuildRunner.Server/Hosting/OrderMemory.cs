using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Hosting;

namespace BuildRunner.Server.Hosting;

/// <summary>
/// Results of the newest 256 orders, in files before the server hears of them: the same order again is answered, not repeated, also by the next
/// process. After a loss of power the last ones may be missing; every order bears coming twice, and looks first.
/// </summary>
internal sealed class OrderMemory
{
    public const int KeptMax = 256;

    private readonly string? _folder;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, OrderResult> _results = new(StringComparer.Ordinal);
    private readonly Queue<string> _order = new();

    public OrderMemory(string? folder)
    {
        _folder = folder;
        if (folder is null)
            return;
        Directory.CreateDirectory(folder);
        foreach (var file in new DirectoryInfo(folder).GetFiles("*.json").OrderBy(file => file.LastWriteTimeUtc))
        {
            try
            {
                if (JsonSerializer.Deserialize(File.ReadAllBytes(file.FullName), WireJson.Default.OrderResult) is { } result)
                    Keep(result);
            }
            catch (JsonException) { file.Delete(); } // cut short by a loss of power, or not one of ours
        }
    }

    public OrderResult? Find(string id)
    {
        lock (_gate)
            return _results.GetValueOrDefault(id);
    }

    /// <summary>Failures are not kept: their repeat is a new try.</summary>
    public void Remember(OrderResult result)
    {
        if (!result.Done && !result.Refused)
            return;
        if (_folder is not null)
            AtomicFile.Write(PathOf(_folder, result.Id), JsonSerializer.SerializeToUtf8Bytes(result, WireJson.Default.OrderResult), durable: false);
        lock (_gate)
            Keep(result);
    }

    private void Keep(OrderResult result)
    {
        if (!_results.TryAdd(result.Id, result))
            return;
        _order.Enqueue(result.Id);
        while (_order.Count > KeptMax)
        {
            var oldest = _order.Dequeue();
            _results.Remove(oldest);
            if (_folder is not null)
                File.Delete(PathOf(_folder, oldest));
        }
    }

    /// <summary>Ids come over the wire and must not become paths.</summary>
    private static string PathOf(string folder, string id) => Path.Combine(folder, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(id)))[..32] + ".json");
}
