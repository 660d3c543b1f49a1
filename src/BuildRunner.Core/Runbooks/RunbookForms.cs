using System.Diagnostics.CodeAnalysis;
using BuildRunner.Core.Policy;

namespace BuildRunner.Core.Runbooks;

/// <summary>The keys of a runbook's YAML and the forms of their values.</summary>
internal static class RunbookForms
{
    private static readonly TimeSpan Day = TimeSpan.FromDays(1);

    /// <summary>Arguments, queries, notes: several lines are fine.</summary>
    private static readonly ScalarForm<string> Lines = new("text", text =>
        text.Length > 10_000 ? Judged<string>.Error($"{text.Length} characters are too many.", "At most 10000.")
        : text.Any(c => char.IsControl(c) && c is not ('\n' or '\t')) ? Judged<string>.Error("It holds a character that does not belong in a text.", "Remove control characters.")
        : new(text), value => value);

    private static readonly ScalarForm<string> ActionName = new("action", text =>
        text.Length is > 0 and <= 100 && text.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '-' or '_' or '.') && char.IsAsciiLetterLower(text[0]) ? new(text)
        : Judged<string>.Error($"'{PolicyReading.Quote(text)}' is no name of an action.", "Write room and verb: `regions.control`."), value => value);

    private static readonly ScalarForm<string> When = new("condition", text =>
        Condition.Wrong(text) is { } wrong ? Judged<string>.Error($"'{PolicyReading.Quote(text)}' is no condition: {wrong}.", "Write it like `${mode} == 'fast' && !${dry}`; a value alone holds when it is not empty.")
        : new(text), value => value);

    private static readonly ScalarForm<DateOnly> Date = new("date", text =>
        DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day) ? new(day)
        : Judged<DateOnly>.Error($"'{PolicyReading.Quote(text)}' is no date.", "Write year, month and day: 2026-11-23."), value => value.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture));

    private static readonly ListForm<string> Roles = new(Forms.Word([.. StepApproval.KnownRoles]), "list of roles");

    private static readonly PolicyShape<StepCall> Call = new PolicyShape<StepCall>()
        .Key("action", ActionName, c => c.Action!, (c, v) => c with { Action = v }, "Name of the action")
        .Key("runbook", Forms.Name, c => c.Runbook!, (c, v) => c with { Runbook = v }, "Name of the runbook")
        .Key("with", Arguments(), c => c.With, (c, v) => c with { With = v }, "Its arguments");

    private static readonly CallForm OneCall = new(runbooks: false);

    private static readonly PolicyShape<ApprovalDraft> Approval = new PolicyShape<ApprovalDraft>()
        .Key("roles", Roles, a => a.Roles!, (a, v) => a with { Roles = v }, "Roles of those who may agree")
        .Key("count", Forms.Count(1, 10), a => a.Count ?? 1, (a, v) => a with { Count = v }, "How many different people must agree")
        .Key("timeout", Forms.Duration(TimeSpan.FromSeconds(1), 30 * Day), a => a.Timeout ?? Day, (a, v) => a with { Timeout = v }, "How long the run waits for them");

    private static readonly PolicyShape<InputDraft> Input = new PolicyShape<InputDraft>()
        .Key("summary", Forms.Text, i => i.Summary, (i, v) => i with { Summary = v }, "What it is", required: true)
        .Key("required", Forms.Switch, i => i.Required, (i, v) => i with { Required = v }, "Whether a run without it is refused")
        .Key("default", Lines, i => i.Default!, (i, v) => i with { Default = v }, "Its value when none is given")
        .Key("values", new ListForm<string>(Forms.Text, "list"), i => i.Values!, (i, v) => i with { Values = v }, "The values that it may have");

    public static readonly PolicyShape<StepDraft> Step = Steps();

    public static readonly PolicyShape<RunbookDraft> Root = new PolicyShape<RunbookDraft>()
        .Key("name", Forms.Name, d => d.Name!, (d, v) => d with { Name = v }, "Name by which it is run", required: true)
        .Key("title", Forms.Text, d => d.Title!, (d, v) => d with { Title = v }, "What it does, in one line", required: true)
        .Key("reviewed", Forms.Optional(Date), d => d.Reviewed, (d, v) => d with { Reviewed = v }, "When a person last read it and found it right")
        .Key("over", Forms.Text, d => d.Over!, (d, v) => d with { Over = v }, "What a run holds alone")
        .Entries("inputs", Input, name => new InputDraft { Name = name }, i => i.Name, d => [.. d.Inputs.Select(i => new InputDraft { Name = i.Name, Summary = i.Summary, Required = i.Required, Default = i.Default, Values = i.Values })],
            (d, v) => d with { Inputs = [.. v.Select(i => new RunbookInput(i.Name, i.Summary, i.Required, i.Default, i.Values))] }, "Values that a run takes")
        .Items("steps", Step, () => new StepDraft(), d => d.Steps, (d, v) => d with { Steps = v }, "What is done, in order");

    private static MapForm<string> Arguments() => new(Lines, "names with values", name =>
        name.Length is > 0 and <= 100 && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.') ? null : $"'{PolicyReading.Quote(name)}' is no name of an argument: letters, digits, -, _ and dots.");

    private static PolicyShape<StepDraft> Steps()
    {
        var shape = new PolicyShape<StepDraft>();
        return shape
            .Key("id", Forms.Name, s => s.Id!, (s, v) => s with { Id = v }, "Its name in the journal")
            .Key("title", Forms.Text, s => s.Title!, (s, v) => s with { Title = v }, "What people see; several may share one")
            .Key("summary", Forms.Text, s => s.Summary!, (s, v) => s with { Summary = v }, "What this step itself does")
            .Key("action", ActionName, s => s.Action!, (s, v) => s with { Action = v }, "Name of the action")
            .Key("with", Arguments(), s => s.With, (s, v) => s with { With = v }, "Arguments of the action, or inputs of the runbook")
            .Key("when", When, s => s.When!, (s, v) => s with { When = v }, "Condition without which it is skipped")
            .Key("only", Forms.Word(StepKind.Graceful, StepKind.Ungraceful), s => s.Only!, (s, v) => s with { Only = v }, "The variant in which it is done")
            .Key("timeout", Forms.Optional(Forms.Duration(TimeSpan.FromMilliseconds(100), 30 * Day)), s => s.Timeout, (s, v) => s with { Timeout = v }, "How long it may take")
            .Key("retries", Forms.Optional(Forms.Count(0, 20)), s => s.Retries, (s, v) => s with { Retries = v }, "How often it is repeated after a failure")
            .Key("retry_delay", Forms.Optional(Forms.Duration(TimeSpan.Zero, TimeSpan.FromSeconds(100))), s => s.RetryDelay, (s, v) => s with { RetryDelay = v }, "Wait before the first repeat, doubled each time")
            .Key("on_failure", Forms.Optional(Forms.Word<OnFailure>()), s => s.OnFailure, (s, v) => s with { OnFailure = v }, "What a failure means for the run")
            .Key("check", OneCall, s => s.Check!, (s, v) => s with { Check = v }, "What must be so before")
            .Key("verify", OneCall, s => s.Verify!, (s, v) => s with { Verify = v }, "What must be so afterwards")
            .Key("undo", new UndoForm(), s => s.Undo!, (s, v) => s with { Undo = v }, "Whether, or how, it is taken back")
            .Key("point_of_no_return", Forms.Switch, s => s.PointOfNoReturn, (s, v) => s with { PointOfNoReturn = v }, "After it the run only goes forward")
            .Key("after_resume", Forms.Switch, s => s.AfterResume, (s, v) => s with { AfterResume = v }, "It only settles things while traffic flows")
            .Key("if_stuck", Forms.Text, s => s.IfStuck!, (s, v) => s with { IfStuck = v }, "What a person does when the run ends here")
            .Part("approval", Approval, s => s.Approval ?? new(), (s, v) => s with { Approval = v }, "Who must agree first")
            .Key("manual", Lines, s => s.Manual!, (s, v) => s with { Manual = v }, "What a person does by hand")
            .Key("runbook", Forms.Name, s => s.Runbook!, (s, v) => s with { Runbook = v }, "The runbook that is run as this step")
            .Items("parallel", shape, () => new StepDraft(), s => s.Parallel, (s, v) => s with { Parallel = v }, "Steps that run together");
    }

    private sealed record InputDraft
    {
        public required string Name { get; init; }
        public string Summary { get; init; } = "";
        public bool Required { get; init; }
        public string? Default { get; init; }
        public IReadOnlyList<string>? Values { get; init; }
    }

    /// <summary>`{action: …, with: …}`.</summary>
    private sealed class CallForm(bool runbooks) : PolicyForm<StepCall>
    {
        public override string Words => runbooks ? "action or runbook, with arguments" : "action with arguments";

        public override bool TryRead(PolicyNode node, PolicyPath path, PolicyReading reading, [MaybeNullWhen(false)] out StepCall value)
        {
            var before = reading.Errors.Count;
            value = Call.Read(new StepCall(), node, path, reading, node.At);
            if (reading.Errors.Count > before)
                return false;
            if (value.Action is null == value.Runbook is null)
                reading.Wrong(node.At, path, value.Action is null ? "It names no action." : "It names an action and a runbook.", runbooks ? "Write `action: NAME` or `runbook: NAME`." : "Write `action: NAME`.");
            else if (value.Runbook is not null && !runbooks)
                reading.Wrong(node.At, path, "A runbook has no place here.", "Name an action that only looks, such as `health.verify`.");
            return reading.Errors.Count == before;
        }

        public override PolicyNode? Write(StepCall value) => value is null ? null : Call.Write(value);
    }

    /// <summary>`false`, `true`, or `{action: …, with: …}`.</summary>
    private sealed class UndoForm : PolicyForm<UndoDraft>
    {
        private readonly CallForm _call = new(runbooks: true);

        public override string Words => "false, or action or runbook with arguments";

        public override bool TryRead(PolicyNode node, PolicyPath path, PolicyReading reading, [MaybeNullWhen(false)] out UndoDraft value)
        {
            value = null;
            if (node is PolicyNode.Mapping)
            {
                if (!_call.TryRead(node, path, reading, out var by))
                    return false;
                value = new(true, by);
                return true;
            }
            if (!Forms.Switch.TryRead(node, path, reading, out var can))
                return false;
            value = new(can, null);
            return true;
        }

        public override PolicyNode? Write(UndoDraft value) => value is null ? null : value.By is { } by ? Call.Write(by) : Forms.Switch.Write(value.Can);
    }
}
