using System.Text.RegularExpressions;

namespace BuildRunner.Core.Runbooks;

/// <summary>Fills `${input}` and `${step.output}` in a step's arguments.</summary>
public static partial class StepArguments
{
    /// <summary>A name without a value becomes empty: an optional input that was not given, an output that a step had no need to make.</summary>
    public static IReadOnlyDictionary<string, string> Fill(IReadOnlyDictionary<string, string> with, IReadOnlyDictionary<string, string> inputs, IReadOnlyDictionary<string, string> outputs) =>
        with.ToDictionary(argument => argument.Key, argument => Fill(argument.Value, inputs, outputs));

    public static string Fill(string text, IReadOnlyDictionary<string, string> inputs, IReadOnlyDictionary<string, string> outputs) =>
        Reference().Replace(text, match =>
        {
            var name = match.Groups[1].Value;
            return (name.Contains('.', StringComparison.Ordinal) ? outputs : inputs).TryGetValue(name, out var value) ? value : "";
        });

    public static IEnumerable<string> References(string text) => Reference().Matches(text).Select(match => match.Groups[1].Value);

    [GeneratedRegex(@"\$\{([a-z0-9_.-]+)\}", RegexOptions.CultureInvariant)]
    private static partial Regex Reference();
}
