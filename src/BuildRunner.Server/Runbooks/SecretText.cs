using System.Text;

namespace BuildRunner.Server.Runbooks;

/// <summary>Values that may be secrets: written as `env:NAME` or `file:PATH`, read when they are used, and never kept or printed.</summary>
internal static class SecretText
{
    private const int BytesMax = 64 * 1024;

    public static bool IsReference(string value) => value.StartsWith("env:", StringComparison.Ordinal) || value.StartsWith("file:", StringComparison.Ordinal);

    /// <summary>The value behind a reference, or the text itself; what is wrong when it cannot be had.</summary>
    public static (string? Value, string? Wrong) Resolve(string value)
    {
        if (value.StartsWith("env:", StringComparison.Ordinal))
        {
            var name = value[4..];
            return Environment.GetEnvironmentVariable(name) is { Length: > 0 } found ? (found, null) : (null, $"The environment variable {name} of the server is not set.");
        }
        if (!value.StartsWith("file:", StringComparison.Ordinal))
            return (value, null);
        var path = value[5..];
        try
        {
            return new FileInfo(path) is { Length: <= BytesMax } ? (File.ReadAllText(path, Encoding.UTF8).TrimEnd('\r', '\n'), null) : (null, $"The file {path} has more than {BytesMax} bytes.");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException) { return (null, $"The file {path} cannot be read by the server."); }
    }
}
