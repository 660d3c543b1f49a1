using System.Text.Json;
using System.Text.Json.Serialization;

namespace BuildRunner.Core.Databases;

/// <summary>A position in PostgreSQL's write-ahead log, in bytes; written `16/B374D848` as PostgreSQL writes it.</summary>
[JsonConverter(typeof(JsonForm))]
public readonly record struct Lsn(ulong Bytes) : IComparable<Lsn>
{
    public static Lsn Parse(string text) => TryParse(text, out var lsn) ? lsn : throw new FormatException($"'{text}' is not a WAL position such as 16/B374D848.");

    public static bool TryParse(string? text, out Lsn lsn)
    {
        lsn = default;
        var slash = text?.IndexOf('/', StringComparison.Ordinal) ?? -1;
        if (slash < 1
            || !uint.TryParse(text.AsSpan(0, slash), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var high)
            || !uint.TryParse(text.AsSpan(slash + 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var low))
            return false;
        lsn = new(((ulong)high << 32) | low);
        return true;
    }

    /// <summary>Bytes from <paramref name="right"/> to <paramref name="left"/>; negative when left lies before right.</summary>
    public static long operator -(Lsn left, Lsn right) => unchecked((long)(left.Bytes - right.Bytes));

    public static bool operator <(Lsn left, Lsn right) => left.Bytes < right.Bytes;
    public static bool operator >(Lsn left, Lsn right) => left.Bytes > right.Bytes;
    public static bool operator <=(Lsn left, Lsn right) => left.Bytes <= right.Bytes;
    public static bool operator >=(Lsn left, Lsn right) => left.Bytes >= right.Bytes;

    public static Lsn Max(Lsn a, Lsn b) => a > b ? a : b;

    public int CompareTo(Lsn other) => Bytes.CompareTo(other.Bytes);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Bytes >> 32:X}/{(uint)Bytes:X}");

    public sealed class JsonForm : JsonConverter<Lsn>
    {
        public override Lsn Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            TryParse(reader.GetString(), out var lsn) ? lsn : throw new JsonException("A WAL position such as 16/B374D848 is expected.");

        public override void Write(Utf8JsonWriter writer, Lsn value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
    }
}
