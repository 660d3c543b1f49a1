using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Runbooks;

/// <summary>From a runbook's tree to the runbook, or to everything that is wrong with it, each error with its place and fix.</summary>
public static class RunbookYaml
{
    private const int StepsMax = 100;
    private const int GroupMax = 16;
    private static readonly string[] Kinds = ["action", "manual", "runbook"];

    /// <param name="root">What was written; null: nothing could be read, and <paramref name="earlier"/> says why.</param>
    /// <param name="earlier">Errors of reading the text: reported with those of its meaning.</param>
    public static RunbookBinding Bind(PolicyNode? root, IReadOnlyList<PolicyError> earlier)
    {
        var reading = new PolicyReading(_ => null);
        if (root is null)
            return new() { Errors = earlier };
        reading.Place(PolicyPath.Root, root.At);
        var draft = RunbookForms.Root.Read(new RunbookDraft(), root, PolicyPath.Root, reading, root.At);
        var runbook = Settle(draft, reading);
        var unread = earlier.Select(e => e.At.Line).ToHashSet();
        var errors = earlier.Concat(reading.Errors.Where(e => !unread.Contains(e.At.Line))).OrderBy(e => e.At.Line).ThenBy(e => e.At.Column).Distinct().ToList();
        return errors.Count > 0 ? new() { Errors = errors, Name = draft.Name } : new() { Runbook = runbook, Name = draft.Name };
    }

    private static Runbook Settle(RunbookDraft draft, PolicyReading reading)
    {
        var steps = new List<RunbookStep>();
        var places = new List<string>();
        for (var i = 0; i < draft.Steps.Count; i++)
            Lay(draft.Steps[i], string.Create(CultureInfo.InvariantCulture, $"steps[{i}]"), reading, steps, places);

        if (draft.Steps.Count == 0 && reading.Errors.Count == 0)
            reading.Wrong(reading.At("steps"), "steps", "There is no step.", "Write at least one under `steps`.");
        if (steps.Count > StepsMax)
            reading.Wrong(reading.At("steps"), "steps", $"{steps.Count} steps are too many.", $"At most {StepsMax}; put some into a runbook of their own and run it as a step.");
        var inputs = draft.Inputs;
        if (steps.Any(s => s.Only is not null) && inputs.All(i => i.Name != StepKind.VariantInput))
            inputs = [.. inputs, new(StepKind.VariantInput, "graceful while the region can be reached, else ungraceful", Default: StepKind.Graceful, Values: [StepKind.Graceful, StepKind.Ungraceful])];
        foreach (var input in inputs.Where(i => i is { Values: { } values, Default: { } standing } && !values.Contains(standing)))
            reading.Wrong(reading.At($"inputs.{input.Name}.default"), $"inputs.{input.Name}.default", $"'{PolicyReading.Quote(input.Default!)}' is none of its values.", Nearest.Fix(input.Default!, [.. input.Values!]));

        CheckNames(steps, places, inputs, reading);
        foreach (var name in StepArguments.References(draft.Over ?? "").Where(n => inputs.All(i => i.Name != n)))
            reading.Wrong(reading.At("over"), "over", $"${{{name}}} is no input.", Nearest.Fix(name, [.. inputs.Select(i => i.Name)]));
        return new() { Name = draft.Name ?? "", Title = draft.Title ?? "", Reviewed = draft.Reviewed, Over = draft.Over, Inputs = inputs, Steps = steps };
    }

    /// <summary>Lays a step, or the steps of a group, beside the others.</summary>
    private static void Lay(StepDraft draft, string place, PolicyReading reading, List<RunbookStep> steps, List<string> places)
    {
        if (!reading.IsPlaced($"{place}.parallel"))
        {
            places.Add(place);
            steps.Add(Step(draft, place, reading));
            return;
        }
        var id = draft.Id ?? string.Create(CultureInfo.InvariantCulture, $"group-{steps.Count + 1}");
        if (draft with { Id = null, Title = null, When = null, Only = null, Parallel = [] } != new StepDraft { With = draft.With } || draft.With.Count > 0)
            reading.Wrong(reading.At(place), place, "A group has only `id`, `title`, `when`, `only` and `parallel`.", "Write the other keys at its steps.");
        if (draft.Parallel.Count is 0 or > GroupMax)
            reading.Wrong(reading.At($"{place}.parallel"), $"{place}.parallel", $"A group has 1 to {GroupMax} steps, not {draft.Parallel.Count}.", "Write each after `- `.");
        for (var i = 0; i < draft.Parallel.Count; i++)
        {
            var at = string.Create(CultureInfo.InvariantCulture, $"{place}.parallel[{i}]");
            var inner = draft.Parallel[i];
            if (reading.IsPlaced($"{at}.parallel"))
            {
                reading.Wrong(reading.At($"{at}.parallel"), $"{at}.parallel", "A group stands in a group.", "Write its steps side by side, or put them into a runbook of their own.");
                continue;
            }
            places.Add(at);
            steps.Add(Step(inner with
            {
                Title = inner.Title ?? draft.Title,
                Only = inner.Only ?? draft.Only,
                When = draft.When is null ? inner.When : inner.When is null ? draft.When : $"({draft.When}) && ({inner.When})",
            }, at, reading) with { Group = id });
        }
    }

    private static RunbookStep Step(StepDraft draft, string place, PolicyReading reading)
    {
        void Wrong(string key, string message, string fix) => reading.Wrong(reading.At($"{place}.{key}"), $"{place}.{key}", message, fix);

        if (draft.Id is null && !reading.IsPlaced($"{place}.id"))
            reading.Wrong(reading.At(place), $"{place}.id", "`id` is missing.", "Write `id:` with a name that no other step has.");
        string[] kinds = [.. Kinds.Where(k => reading.IsPlaced($"{place}.{k}"))];
        if (kinds.Length > 1)
            Wrong(kinds[1], $"A step has one of `action`, `manual` and `runbook`, not {string.Join(" and ", kinds.Select(k => $"`{k}`"))}.", "Make two steps of it.");
        if (kinds.Length == 0 && draft.Approval is null)
            reading.Wrong(reading.At(place), place, "The step does nothing.", "Write `action:`, `manual:`, `runbook:`, `parallel:` or `approval:`.");
        if (draft.Action is StepKind.Manual or StepKind.ChildRun or StepKind.Approval)
            Wrong("action", $"`{draft.Action}` is no action.", $"Write `{draft.Action}:` as a key of the step.");
        if (draft.With.Count > 0 && (draft.Manual is not null || kinds.Length == 0))
            Wrong("with", "Nobody would read these arguments.", "Remove them.");
        if (draft.PointOfNoReturn && draft.Undo is { Can: true })
            Wrong("undo", "A point of no return is never taken back.", "Remove `undo`, or `point_of_no_return`.");
        if (draft.Title is null && draft.Id is not null && draft.Summary is null && !reading.IsPlaced($"{place}.title"))
            reading.Wrong(reading.At(place), $"{place}.title", "`title` is missing.", "Say in a few words what the step does.");

        // What a run that is a step did is taken back by nothing but another run; a person's hands are not ours to take back.
        var undo = draft.Undo ?? new(draft.Runbook is null && !draft.PointOfNoReturn, null);
        var fresh = new RunbookStep { Id = "", Title = "", Action = "" };
        return new()
        {
            Id = draft.Id ?? "",
            Title = draft.Title ?? draft.Summary ?? draft.Id ?? "",
            Summary = draft.Summary,
            Action = draft.Action ?? (draft.Manual is not null ? StepKind.Manual : draft.Runbook is not null ? StepKind.ChildRun : StepKind.Approval),
            With = draft.With,
            Timeout = draft.Timeout ?? (draft.Manual is not null || draft.Runbook is not null ? TimeSpan.FromHours(24) : fresh.Timeout),
            Retries = draft.Retries ?? fresh.Retries,
            RetryDelay = draft.RetryDelay ?? fresh.RetryDelay,
            OnFailure = draft.OnFailure ?? fresh.OnFailure,
            Undo = undo.Can,
            UndoBy = undo.By,
            PointOfNoReturn = draft.PointOfNoReturn,
            AfterResume = draft.AfterResume,
            IfStuck = draft.IfStuck,
            When = draft.When,
            Only = draft.Only,
            Manual = draft.Manual,
            Runbook = draft.Runbook,
            Check = draft.Check,
            Verify = draft.Verify,
            Approval = draft.Approval is { } approval
                ? new StepApproval { Roles = approval.Roles ?? new StepApproval().Roles, Count = approval.Count ?? 1, Timeout = approval.Timeout ?? new StepApproval().Timeout }
                : null,
        };
    }

    /// <summary>Ids once only, and every `${name}` an input or an output of an earlier step, with the nearest known name.</summary>
    private static void CheckNames(List<RunbookStep> steps, List<string> places, IReadOnlyList<RunbookInput> inputs, PolicyReading reading)
    {
        var seen = new Dictionary<string, string>(StringComparer.Ordinal);
        for (var i = 0; i < steps.Count; i++)
        {
            var (step, place) = (steps[i], places[i]);
            foreach (var (key, text, self) in Texts(step))
            {
                foreach (var name in StepArguments.References(text).Distinct(StringComparer.Ordinal))
                {
                    var dot = name.IndexOf('.', StringComparison.Ordinal);
                    var owner = dot > 0 ? name[..dot] : null;
                    if (owner is null ? inputs.Any(n => n.Name == name) : (self && owner == step.Id) || (seen.ContainsKey(owner) && steps.First(s => s.Id == owner).Group is var group && (group is null || group != step.Group)))
                        continue;
                    IReadOnlyCollection<string> known = owner is null ? [.. inputs.Select(n => n.Name)] : [.. seen.Keys];
                    var fix = owner is null ? Nearest.Fix(name, known) : Nearest.To(owner, known) is { } near && near != owner ? $"Did you mean `${{{near}{name[dot..]}}}`?" : "Only outputs of steps that are done before can be used.";
                    reading.Wrong(reading.At($"{place}.{key}"), $"{place}.{key}", $"${{{name}}} is {(owner is null ? "no input" : "no output of an earlier step")}.", fix);
                }
            }
            if (step.Id.Length > 0 && !seen.TryAdd(step.Id, place))
                reading.Wrong(reading.At($"{place}.id"), $"{place}.id", $"Two steps are called '{step.Id}' (the other one is {reading.At($"{seen[step.Id]}.id")}).", "Choose another id for one.");
        }
    }

    private static IEnumerable<(string Key, string Text, bool Self)> Texts(RunbookStep step)
    {
        foreach (var (name, value) in step.With)
            yield return ($"with.{name}", value, false);
        if (step.When is { } when)
            yield return ("when", when, false);
        if (step.Manual is { } manual)
            yield return ("manual", manual, false);
        foreach (var (key, call) in RunbookCheck.Calls(step))
        {
            foreach (var (name, value) in call.With)
                yield return ($"{key}.with.{name}", value, key != "check");
        }
        if (step.IfStuck is { } stuck)
            yield return ("if_stuck", stuck, true);
    }
}
