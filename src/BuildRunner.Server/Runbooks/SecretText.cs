using System.Text;

namespace BuildRunner.Server.Runbooks;

/// <summary>Values that may be secrets: written as `env:NAME` or `file:PATH`, read when they are used, and never kept or printed.</summary>
internal static class SecretText
{
    private const int BytesMax = 64 * 1024;

    /// <summary>The value of an argument: read from where the runbook itself points to; what an input brought is text, whatever it looks like.</summary>
    public static (string? Value, string? Wrong) Resolve(ActionContext context, string argument) =>
        IsWritten(context, argument) ? Resolve(context.Arguments[argument]) : (context.Arguments[argument], null);

    /// <summary>Whether the runbook itself writes a reference there.</summary>
    public static bool IsWritten(ActionContext context, string argument) =>
        context.Written.TryGetValue(argument, out var written) && IsReference(written) && !written.Contains("${", StringComparison.Ordinal);

    private static bool IsReference(string value) => value.StartsWith("env:", StringComparison.Ordinal) || value.StartsWith("file:", StringComparison.Ordinal);

    /// <summary>Reads a reference that the policy or a runbook holds; the error names the variable or the file, never its content.</summary>
    public static (string? Value, string? Wrong) Resolve(string value)
    {
        if (value.StartsWith("env:", StringComparison.Ordinal))
        {
            var name = value[4..];
            return Environment.GetEnvironmentVariable(name) is { Length: > 0 } found ? (found, null) : (null, $"The environment variable {name} of the server is not set.");
        }
        if (!IsReference(value))
            return (null, "It is no reference to a secret: write env:NAME or file:PATH.");
        var path = value[5..];
        try
        {
            return new FileInfo(path) is { Length: <= BytesMax } ? (File.ReadAllText(path, Encoding.UTF8).TrimEnd('\r', '\n'), null) : (null, $"The file {path} has more than {BytesMax} bytes.");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException) { return (null, $"The file {path} cannot be read by the server."); }
    }
}
