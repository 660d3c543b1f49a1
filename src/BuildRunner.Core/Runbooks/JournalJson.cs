using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace BuildRunner.Core.Runbooks;

/// <summary>The journal's form: one JSON object a line, snake case, `event` says which.</summary>
public static class Journal
{
    // Quotes and signs stay readable: the journal is read by people too, never by a browser as HTML.
    private static readonly JournalJson Form = new(new JsonSerializerOptions(JournalJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    public static byte[] Write(RunEvent happened) => JsonSerializer.SerializeToUtf8Bytes(happened, Form.RunEvent);

    public static RunEvent Read(ReadOnlySpan<byte> line) => JsonSerializer.Deserialize(line, Form.RunEvent) ?? throw new JsonException("A journal's line is null.");
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, AllowOutOfOrderMetadataProperties = true)]
[JsonSerializable(typeof(RunEvent))]
[JsonSerializable(typeof(Runbook))]
internal sealed partial class JournalJson : JsonSerializerContext;
