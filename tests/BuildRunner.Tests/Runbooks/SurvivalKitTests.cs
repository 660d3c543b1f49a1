using System.Text;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Tests.Runbooks;

/// <summary>The survival kit over a runbook that has everything: a condition, a group, an agreement, hands, and runs of other runbooks.</summary>
public class SurvivalKitTests
{
    private const string Everything = """
        name: everything
        title: Everything that a runbook may have
        over: things/${name}
        inputs:
          name: {summary: what, default: x}
          fast: {summary: whether the slow way is left out, default: "yes"}
        steps:
          - id: first
            title: One after another
            action: things.set
            with: {name: "${name}-first"}
            retries: 1
            retry_delay: 1ms
          - id: slow
            title: One after another
            when: ${fast} != 'yes'
            action: things.set
            with: {name: "${name}-slow"}
          - id: both
            title: Together
            parallel:
              - id: left
                action: things.set
                with: {name: left}
              - id: right
                action: things.order
                with: {name: right}
                verify: {action: things.set, with: {name: "order-right"}}
              - id: agreed
                action: things.set
                with: {name: agreed}
                approval: {roles: [admin], count: 2, timeout: 1m}
          - id: hands
            title: By hand
            manual: Look at ${name}, and say what you see.
            timeout: 1m
          - id: inner
            title: Another runbook
            runbook: inner
            with: {what: "${first.name}"}
            undo: {runbook: outer-undo, with: {what: "${first.name}"}}
          - id: only-agreement
            title: May it end?
            approval: {count: 1, timeout: 1m}
          - id: last
            title: The end
            when: ${inner.deep.name} && ${hands.note}
            action: things.set
            with: {name: "last-${hands.actor}"}
            check: {action: things.set, with: {name: always}}
        """;

    private const string Inner = """
        name: inner
        title: Inside
        inputs: {what: {summary: what, required: true}}
        steps:
          - id: ask
            title: Inside
            approval: {timeout: 1m}
          - {id: deep, title: Inside, action: things.order, with: {name: "deep-${what}"}}
        """;

    private const string OuterUndo = """
        name: outer-undo
        title: Takes back what inner did
        inputs: {what: {summary: what, required: true}}
        steps:
          - {id: undo-deep, title: Back, action: things.clear, with: {name: "order-deep-${what}"}}
        """;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 300_000)]
    public async Task Everything_CrashedEverywhereAndUnlucky_EndsAsIfNothingHadHappened()
    {
        var report = await new SurvivalKit([Read(Everything), Read(Inner), Read(OuterUndo)], () => Things.World()).RunAsync(Cancel);
        TestContext.Current.TestOutputHelper?.WriteLine(report.ToString());
        Assert.Empty(report.Faults);
        Assert.True(report.Cases["crashes"] > 50, report.ToString());
        Assert.True(report.Cases["crashes while taken back"] > 30, report.ToString());
    }

    [Theory(Timeout = 120_000)]
    [InlineData("things.blind", true)]
    [InlineData("things.order", false)]
    [InlineData("things.set", false)]
    public async Task Kit_AnActionThatIsNeitherIdempotentNorLooks_IsFound(string action, bool found)
    {
        var report = await new SurvivalKit([Read($$$"""
            name: planted
            title: Planted
            steps:
              - {id: one, title: One, action: {{{action}}}, with: {name: one}}
              - {id: two, title: Two, action: things.set, with: {name: two}}
            """)], () => Things.World()).RunAsync(Cancel);
        TestContext.Current.TestOutputHelper?.WriteLine($"{action}: {report}");
        Assert.Equal(found, report.Faults.Count > 0);
    }

    [Fact(Timeout = 60_000)]
    public async Task Kit_AStepThatDoesNotTakeBack_IsFound()
    {
        var report = await new SurvivalKit([Read("""
            name: planted
            title: Planted
            steps:
              - {id: one, title: One, action: things.forgetful, with: {name: one}}
              - {id: two, title: Two, action: things.set, with: {name: two}}
            """)], () => Things.World()).RunAsync(Cancel);
        Assert.Contains(report.Faults, f => f.Contains("'two' Fails", StringComparison.Ordinal));
    }

    internal static Runbook Read(string text)
    {
        var binding = RunbookFile.Bind(Encoding.UTF8.GetBytes(text), "test.yml");
        return binding.Runbook ?? throw new InvalidOperationException(string.Join('\n', binding.Errors));
    }
}

/// <summary>A world of names that are set or not; each change is remembered.</summary>
internal sealed class Things
{
    private readonly Lock _gate = new();
    private readonly SortedSet<string> _set = ["always"];
    private readonly HashSet<string> _keys = [];
    private readonly List<string> _effects = [];

    public static SurvivalWorld World()
    {
        var things = new Things();
        return new([new Set(things), new Order(things), new Clear(things), new Blind(things), new Forgetful(things)], () => { lock (things._gate) return [.. things._effects]; }, () => { lock (things._gate) return string.Join(' ', things._set); });
    }

    private ActionOutcome Do(string name, bool to, string? key = null)
    {
        lock (_gate)
        {
            if ((key is null || _keys.Add(key)) && (to ? _set.Add(name) : _set.Remove(name)))
                _effects.Add($"{(to ? "+" : "-")}{name}");
        }
        return ActionOutcome.Finished(("name", name));
    }

    private ActionVerdict Is(string name)
    {
        lock (_gate)
            return _set.Contains(name) ? new ActionVerdict.So(new Dictionary<string, string> { ["name"] = name }) : new ActionVerdict.NotSo($"{name} is not set");
    }

    /// <summary>Idempotent, looks, takes back.</summary>
    private sealed class Set(Things things) : IAction
    {
        public string Name => "things.set";

        public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(things.Do(context.Argument("name")!, true));

        public Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(things.Is(context.Argument("name")!));

        public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(things.Do(context.Argument("name")!, false));
    }

    /// <summary>Done once under a key, as a node's order is; it does not look.</summary>
    private sealed class Order(Things things) : IAction
    {
        public string Name => "things.order";

        public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
        {
            things.Do($"order-{context.Argument("name")}", true, context.Key);
            return Task.FromResult(ActionOutcome.Finished(("name", context.Argument("name"))));
        }

        public Task<ActionOutcome> UndoAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(things.Do($"order-{context.Argument("name")}", false));
    }

    private sealed class Clear(Things things) : IAction
    {
        public string Name => "things.clear";

        public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(things.Do(context.Argument("name")!, false));
    }

    /// <summary>The planted fault: it acts anew each time, and cannot say whether it did.</summary>
    private sealed class Blind(Things things) : IAction
    {
        private int _times;

        public string Name => "things.blind";

        public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(things.Do($"{context.Argument("name")}-{Interlocked.Increment(ref _times)}", true));
    }

    /// <summary>The other planted fault: nothing takes it back.</summary>
    private sealed class Forgetful(Things things) : IAction
    {
        public string Name => "things.forgetful";

        public Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel) => Task.FromResult(things.Do(context.Argument("name")!, true));
    }
}
