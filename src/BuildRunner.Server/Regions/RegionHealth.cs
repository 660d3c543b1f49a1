using BuildRunner.Client.Regions;
using BuildRunner.Core.Regions;

namespace BuildRunner.Server.Regions;

/// <summary>Where the loop lays down what it found, for everyone who asks.</summary>
internal sealed class RegionHealth : IRegionHealth, IProbePlan
{
    private readonly Listeners _verdictListeners = new();
    private readonly Listeners _planListeners = new();

    public IReadOnlyList<RegionVerdict> Current { get; private set; } = [];
    public IReadOnlyDictionary<string, RegionControl> Controls { get; private set; } = new Dictionary<string, RegionControl>();
    public bool Settled { get; private set; }

    IReadOnlyList<ProbeTarget> IProbePlan.Current => Plan;
    public IReadOnlyList<ProbeTarget> Plan { get; private set; } = [];

    public IDisposable OnChange(Action changed) => _verdictListeners.Add(changed);

    IDisposable IProbePlan.OnChange(Action changed) => _planListeners.Add(changed);

    public void Set(IReadOnlyList<RegionVerdict> verdicts, IReadOnlyDictionary<string, RegionControl> controls, bool settled)
    {
        var changed = settled != Settled || !Same(Current, verdicts) || !Same(Controls, controls);
        (Current, Controls, Settled) = (verdicts, controls, settled);
        if (changed)
            _verdictListeners.Tell();
    }

    public void Set(IReadOnlyList<ProbeTarget> plan)
    {
        if (plan.SequenceEqual(Plan))
            return;
        Plan = plan;
        _planListeners.Tell();
    }

    /// <summary>The states are the same; the evidence behind them moves all the time.</summary>
    private static bool Same(IReadOnlyList<RegionVerdict> before, IReadOnlyList<RegionVerdict> after) =>
        before.Count == after.Count && before.Zip(after).All(p =>
            p.First.Code == p.Second.Code
            && p.First.Health == p.Second.Health
            && p.First.Services.Select(s => (s.Service, s.Health)).SequenceEqual(p.Second.Services.Select(s => (s.Service, s.Health))));

    private static bool Same(IReadOnlyDictionary<string, RegionControl> before, IReadOnlyDictionary<string, RegionControl> after) =>
        before.Count == after.Count && before.All(b => after.TryGetValue(b.Key, out var control) && control == b.Value);

    private sealed class Listeners
    {
        private readonly Lock _gate = new();
        private readonly List<Action> _actions = [];

        public IDisposable Add(Action action)
        {
            lock (_gate)
                _actions.Add(action);
            return new Removal(() => { lock (_gate) _actions.Remove(action); });
        }

        public void Tell()
        {
            Action[] actions;
            lock (_gate)
                actions = [.. _actions];
            foreach (var action in actions)
                action();
        }

        private sealed class Removal(Action remove) : IDisposable
        {
            public void Dispose() => remove();
        }
    }
}
