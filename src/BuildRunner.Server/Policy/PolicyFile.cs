using System.Collections;
using System.Security.Cryptography;
using BuildRunner.Core.Policy;
using Cronos;

namespace BuildRunner.Server.Policy;

/// <summary>From a policy's bytes to what they mean: the one way in, for the server and for `br config validate`.</summary>
internal static class PolicyFile
{
    public static PolicyBinding Bind(ReadOnlyMemory<byte> bytes, string file, IReadOnlyDictionary<string, string> variables)
    {
        var text = PolicyText.Read(bytes, file);
        return PolicyBinder.Bind(text.Root, text.Errors, variables, CronWrong);
    }

    /// <summary>This process's environment.</summary>
    public static IReadOnlyDictionary<string, string> Environment()
    {
        var found = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (DictionaryEntry entry in System.Environment.GetEnvironmentVariables())
            found[(string)entry.Key] = (string?)entry.Value ?? "";
        return found;
    }

    public static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    private static string? CronWrong(string text)
    {
        try
        {
            CronExpression.Parse(text, CronFormat.Standard);
            return null;
        }
        catch (CronFormatException error)
        {
            return $"'{text}' is no cron expression: {error.Message.TrimEnd('.')}.";
        }
    }
}
