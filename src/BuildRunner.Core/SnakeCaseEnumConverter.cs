using System.Text.Json;
using System.Text.Json.Serialization;

namespace BuildRunner.Core;

/// <summary>Enumerations are words on the wire and in the store, in snake case; an unknown word is an error, never a zero.</summary>
public sealed class SnakeCaseEnumConverter<T>() : JsonStringEnumConverter<T>(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false)
    where T : struct, Enum;
