using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;

namespace BuildRunner.Cli;

internal static class CliJson
{
    public static readonly JsonSerializerOptions Indented = new()
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
    };
}

internal static class CliYaml
{
    /// <summary>The same data as YAML: strings quoted as JSON quotes them, which YAML reads too.</summary>
    public static string Write(JsonNode? node)
    {
        var text = new System.Text.StringBuilder();
        Write(text, node, 0, inList: false);
        return text.ToString();
    }

    private static void Write(System.Text.StringBuilder text, JsonNode? node, int depth, bool inList)
    {
        switch (node)
        {
            case JsonObject { Count: > 0 } map:
                if (!inList && text.Length > 0)
                    text.Append('\n');
                var first = true;
                foreach (var (key, value) in map)
                {
                    text.Append(first && inList ? "" : new string(' ', depth * 2)).Append(key).Append(':');
                    Write(text, value, depth + 1, inList: false);
                    first = false;
                }
                break;
            case JsonArray { Count: > 0 } list:
                text.Append('\n');
                foreach (var item in list)
                {
                    text.Append(' ', (depth - 1) * 2).Append("- ");
                    if (item is JsonObject { Count: > 0 })
                        Write(text, item, depth, inList: true);
                    else
                        Write(text, item, depth + 1, inList: true);
                }
                break;
            default:
                text.Append(inList || text.Length == 0 ? "" : " ").Append(node switch { JsonObject => "{}", JsonArray => "[]", null => "null", _ => node.ToJsonString(CliJson.Indented) }).Append('\n');
                break;
        }
    }
}
