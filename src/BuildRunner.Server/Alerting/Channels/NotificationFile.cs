using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Core.Alerting;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Alerting.Channels;

/// <summary>
/// A file of notifications and one predecessor (`.1`), each of at most 4 MiB. A line counts once it is on the disk; what both files hold is not
/// written again, also after a restart.
/// </summary>
internal sealed class NotificationFile(string path, long bytesMax = NotificationFile.BytesMax) : IDisposable
{
    public const long BytesMax = 4L * 1024 * 1024;

    // Quotes and signs stay readable: the file is read by people, never by a browser as HTML.
    private static readonly NotificationFileJson Form = new(new JsonSerializerOptions(NotificationFileJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    private readonly SemaphoreSlim _gate = new(1);

    /// <summary>Keys in the file and in its predecessor; null until they were read.</summary>
    private (HashSet<string> Now, HashSet<string> Before)? _known;

    public string Path => path;

    public async Task AppendAsync(string channel, Notification notification, CancellationToken cancel)
    {
        await _gate.WaitAsync(cancel);
        try
        {
            var known = _known ??= (Keys(path), Keys(Predecessor));
            var line = LineOf(channel, notification);
            var key = KeyOf(line);
            if (known.Now.Contains(key) || known.Before.Contains(key))
                return;
            Rotate();
            Write(JsonSerializer.SerializeToUtf8Bytes(line, Form.NotificationLine));
            _known!.Value.Now.Add(key);
        }
        finally { _gate.Release(); }
    }

    public void Dispose() => _gate.Dispose();

    private string Predecessor => path + ".1";

    private void Rotate()
    {
        if (!File.Exists(path) || new FileInfo(path).Length < bytesMax)
            return;
        File.Move(path, Predecessor, overwrite: true);
        _known = ([], _known!.Value.Now);
    }

    private void Write(byte[] line)
    {
        var isNew = !File.Exists(path);
        using (var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.Read | FileShare.Delete, UnixCreateMode = AtomicFile.OwnerOnly, BufferSize = 0 }))
        {
            // A line that was cut short by a crash is ended, so that it takes no other with it.
            var torn = false;
            if (file.Length > 0)
            {
                file.Seek(-1, SeekOrigin.End);
                torn = file.ReadByte() != '\n';
            }
            file.Seek(0, SeekOrigin.End);
            file.Write([.. torn ? "\n"u8 : default, .. line, .. "\n"u8]);
            file.Flush(flushToDisk: true);
        }
        if (isNew)
            Directories.Sync(System.IO.Path.GetDirectoryName(path)!);
    }

    private static HashSet<string> Keys(string path)
    {
        var keys = new HashSet<string>(StringComparer.Ordinal);
        if (!File.Exists(path))
            return keys;
        foreach (var text in File.ReadLines(path))
        {
            try
            {
                if (JsonSerializer.Deserialize(text, Form.NotificationLine) is { } line)
                    keys.Add(KeyOf(line));
            }
            catch (JsonException) { } // a line cut short, or of somebody else: it says nothing of what was told
        }
        return keys;
    }

    private static string KeyOf(NotificationLine line) => $"{line.Channel}|{line.Key}";

    private static NotificationLine LineOf(string channel, Notification notification) => new()
    {
        At = notification.At,
        Channel = channel,
        Severity = notification.Severity,
        What = notification.What,
        Title = notification.Title,
        Text = notification.Text,
        Incident = notification.Incident,
        Command = notification.Command,
        Key = notification.Key,
    };
}

/// <summary>A line of the file; its form stays.</summary>
internal sealed record NotificationLine
{
    public int SchemaVersion { get; init; } = 1;
    public required DateTimeOffset At { get; init; }
    public required string Channel { get; init; }
    public required AlertSeverity Severity { get; init; }
    public required string What { get; init; }
    public required string Title { get; init; }
    public required string Text { get; init; }
    public string? Incident { get; init; }
    public string? Command { get; init; }
    public required string Key { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(NotificationLine))]
internal sealed partial class NotificationFileJson : JsonSerializerContext;
