using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Runbooks;

/// <summary>What can be told of a runbook and its inputs without acting.</summary>
public static class RunbookCheck
{
    /// <summary>After so long without a review people should not trust a runbook any more.</summary>
    public static readonly TimeSpan ReviewMax = TimeSpan.FromDays(90);

    /// <summary>How deep runbooks may run runbooks.</summary>
    public const int DepthMax = 3;

    /// <summary>Hash of a runbook's text as the journal writes it, 12 hexadecimal digits.</summary>
    public static string Hash(Runbook runbook) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(runbook, JournalJson.Default.Runbook))))[..12];

    /// <summary>Why a person should look at the runbook again; null: it was reviewed lately.</summary>
    public static string? Stale(Runbook runbook, DateTimeOffset now) => runbook.Reviewed switch
    {
        null => $"'{runbook.Name}' was never reviewed: read it, then write `reviewed: {now:yyyy-MM-dd}` into it.",
        { } day when now - new DateTimeOffset(day, TimeOnly.MinValue, TimeSpan.Zero) is var age && age > ReviewMax =>
            string.Create(CultureInfo.InvariantCulture, $"'{runbook.Name}' was last reviewed on {day:yyyy-MM-dd}, {age.TotalDays:0} days ago: read it, then write today's date into `reviewed`."),
        _ => null,
    };

    /// <summary>Everything wrong with a runbook by itself and with the actions and runbooks that there are, one sentence each.</summary>
    /// <param name="runbook">What to check.</param>
    /// <param name="actionKnown">Whether a room has registered an action.</param>
    /// <param name="actions">Names of the known actions, to suggest one.</param>
    /// <param name="find">Finds the runbook that a step runs; null: steps that run others are not looked into.</param>
    public static IReadOnlyList<string> Errors(Runbook runbook, Func<string, bool> actionKnown, IReadOnlyCollection<string>? actions = null, Func<string, Runbook?>? find = null)
    {
        var errors = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var step in runbook.Steps)
        {
            if (step.Manual is null && step.Runbook is null && !actionKnown(step.Action))
                errors.Add($"Step '{step.Id}' of runbook '{runbook.Name}' asks for the action '{step.Action}', which no room of this server has registered.{Meant(step.Action, actions)}");
            foreach (var (key, call) in Calls(step))
            {
                if (call.Action is { } action && !actionKnown(action))
                    errors.Add($"`{key}` of step '{step.Id}' of runbook '{runbook.Name}' asks for the action '{action}', which no room of this server has registered.{Meant(action, actions)}");
            }
            var own = runbook.Steps.Where(s => step.Group is not null && s.Group == step.Group).Select(s => s.Id).ToHashSet();
            foreach (var (name, self) in References(step).Distinct())
            {
                if (Unknown(runbook, name, seen, own, self ? step.Id : null) is { } wrong)
                    errors.Add($"Step '{step.Id}' of runbook '{runbook.Name}' asks for ${{{name}}}, {wrong}.");
            }
            if (step.When is { } when && Condition.Wrong(when) is { } why)
                errors.Add($"`when` of step '{step.Id}' of runbook '{runbook.Name}' cannot be read: {why}.");
            if (!seen.Add(step.Id))
                errors.Add($"Runbook '{runbook.Name}' has two steps '{step.Id}'.");
        }
        foreach (var name in StepArguments.References(runbook.Over ?? "").Where(name => runbook.Inputs.All(i => i.Name != name)))
            errors.Add($"`over` of runbook '{runbook.Name}' asks for ${{{name}}}, which is no input.");
        if (find is not null)
            errors.AddRange(ChildErrors(runbook, find, [runbook.Name]));
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
            if (input.Values is { Count: > 0 } values && inputs.TryGetValue(input.Name, out var chosen) && !values.Contains(chosen))
                errors.Add($"Input '{input.Name}' of runbook '{runbook.Name}' is one of {string.Join(", ", values)}, not '{chosen}'.");
        }
        foreach (var name in given.Keys.Where(name => runbook.Inputs.All(i => i.Name != name)))
            errors.Add($"Runbook '{runbook.Name}' has no input '{name}'; it has {(runbook.Inputs.Count == 0 ? "none" : string.Join(", ", runbook.Inputs.Select(i => i.Name)))}.");
        return (inputs, errors);
    }

    /// <summary>What a run holds alone, by its document.</summary>
    public static string Over(Runbook runbook, IReadOnlyDictionary<string, string> inputs) =>
        runbook.Over is { } over ? StepArguments.Fill(over, inputs, new Dictionary<string, string>()) : $"runbook/{runbook.Name}";

    /// <summary>The calls of a step beside its action, by their keys.</summary>
    public static IEnumerable<(string Key, StepCall Call)> Calls(RunbookStep step) =>
        new[] { ("check", step.Check), ("verify", step.Verify), ("undo", step.UndoBy) }.Where(c => c.Item2 is not null).Select(c => (c.Item1, c.Item2!));

    /// <summary>Every name that a step's texts ask for, and whether the step's own outputs are there by then.</summary>
    private static IEnumerable<(string Name, bool Self)> References(RunbookStep step) =>
    [
        .. step.With.Values.Append(step.When ?? "").Append(step.Manual ?? "").Concat(step.Check?.With.Values ?? []).SelectMany(StepArguments.References).Select(name => (name, false)),
        .. (step.Verify?.With.Values ?? []).Concat(step.UndoBy?.With.Values ?? []).SelectMany(StepArguments.References).Select(name => (name, true)),
    ];

    private static string? Unknown(Runbook runbook, string name, HashSet<string> seen, HashSet<string> group, string? self)
    {
        if (name.IndexOf('.', StringComparison.Ordinal) is not (var dot and > 0))
            return runbook.Inputs.Any(i => i.Name == name) ? null : "which is neither an input nor an output of an earlier step";
        var step = name[..dot];
        if (group.Contains(step) && step != self)
            return "an output of a step that runs at the same time";
        return seen.Contains(step) || step == self ? null : "which is neither an input nor an output of an earlier step";
    }

    /// <summary>Runbooks that are steps: there must be one, with these inputs, and none may run itself.</summary>
    private static IEnumerable<string> ChildErrors(Runbook runbook, Func<string, Runbook?> find, IReadOnlyList<string> above)
    {
        foreach (var (step, name, with) in runbook.Steps.SelectMany(s => ChildrenOf(s)))
        {
            if (above.Contains(name))
                yield return $"Step '{step.Id}' of runbook '{runbook.Name}' runs '{name}', which runs itself: {string.Join(" → ", above.Append(name))}.";
            else if (above.Count > DepthMax)
                yield return string.Create(CultureInfo.InvariantCulture, $"Step '{step.Id}' of runbook '{runbook.Name}' runs '{name}': more than {DepthMax} runbooks inside each other ({string.Join(" → ", above)}).");
            else if (find(name) is not { } child)
                yield return $"Step '{step.Id}' of runbook '{runbook.Name}' runs the runbook '{name}', which there is not.";
            else
            {
                foreach (var error in Inputs(child, with.ToDictionary(w => w.Key, w => w.Value.Length > 0 ? w.Value : "?")).Errors.Where(e => !with.Values.Any(v => v.Contains("${", StringComparison.Ordinal) && e.Contains($"'{v}'", StringComparison.Ordinal))))
                    yield return $"Step '{step.Id}' of runbook '{runbook.Name}': {error}";
                foreach (var error in ChildErrors(child, find, [.. above, name]))
                    yield return error;
            }
        }
    }

    private static IEnumerable<(RunbookStep Step, string Runbook, IReadOnlyDictionary<string, string> With)> ChildrenOf(RunbookStep step)
    {
        if (step.Runbook is { } child)
            yield return (step, child, step.With);
        if (step.UndoBy is { Runbook: { } undo } call)
            yield return (step, undo, call.With);
    }

    private static string Meant(string action, IReadOnlyCollection<string>? known) => known is null ? "" : $" {Nearest.Fix(action, known)}";
}
