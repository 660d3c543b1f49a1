using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace BuildRunner.Core.Runbooks;

/// <summary>What can be told of a runbook and its inputs without acting.</summary>
public static class RunbookCheck
{
    /// <summary>Hash of a runbook's text as the journal writes it, 12 hexadecimal digits.</summary>
    public static string Hash(Runbook runbook) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(runbook, JournalJson.Default.Runbook))))[..12];

    /// <summary>Everything wrong with a runbook, one sentence each.</summary>
    public static IReadOnlyList<string> Errors(Runbook runbook, Func<string, bool> actionKnown)
    {
        var errors = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var step in runbook.Steps)
        {
            if (!actionKnown(step.Action))
                errors.Add($"Step '{step.Id}' of runbook '{runbook.Name}' asks for the action '{step.Action}', which no room of this server has registered.");
            foreach (var name in step.With.Values.SelectMany(StepArguments.References))
            {
                var known = name.IndexOf('.', StringComparison.Ordinal) is var dot and > 0
                    ? seen.Contains(name[..dot])
                    : runbook.Inputs.Any(i => i.Name == name);
                if (!known)
                    errors.Add($"Step '{step.Id}' of runbook '{runbook.Name}' asks for ${{{name}}}, which is neither an input nor an output of an earlier step.");
            }
            if (!seen.Add(step.Id))
                errors.Add($"Runbook '{runbook.Name}' has two steps '{step.Id}'.");
        }
        return errors;
    }

    /// <summary>The inputs with their defaults, or what is wrong with them.</summary>
    public static (IReadOnlyDictionary<string, string> Inputs, IReadOnlyList<string> Errors) Inputs(Runbook runbook, IReadOnlyDictionary<string, string> given)
    {
        var inputs = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var errors = new List<string>();
        foreach (var input in runbook.Inputs)
        {
            if (given.TryGetValue(input.Name, out var value) && value.Length > 0)
                inputs[input.Name] = value;
            else if (input.Default is { } standing)
                inputs[input.Name] = standing;
            else if (input.Required)
                errors.Add($"Runbook '{runbook.Name}' needs the input '{input.Name}' ({input.Summary}): --input {input.Name}=….");
        }
        foreach (var name in given.Keys.Where(name => runbook.Inputs.All(i => i.Name != name)))
            errors.Add($"Runbook '{runbook.Name}' has no input '{name}'; it has {(runbook.Inputs.Count == 0 ? "none" : string.Join(", ", runbook.Inputs.Select(i => i.Name)))}.");
        return (inputs, errors);
    }
}
