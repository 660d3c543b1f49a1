using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Tests.Runbooks;

/// <summary>
/// The survival kit over every runbook that the executable brings: the names come from the library, so that a new one cannot be forgotten. Those that
/// move a database also pass it over agents that keep to the wire contract: FailoverTests, SurvivalTests and SwitchoverTests.
/// </summary>
public class ShippedRunbooksTests
{
    /// <summary>A value for each input that some runbook cannot do without.</summary>
    private static readonly Dictionary<string, string> Given = new()
    {
        ["region"] = ShippedWorld.Region,
        ["weight"] = "50",
        ["target"] = ShippedWorld.Region,
        ["service"] = "api",
        ["scenario"] = "primary-lost-slow-copy",
        ["participants"] = "ada,ben",
    };

    /// <summary>Runbooks that answer the loss of the primary's region.</summary>
    private static readonly string[] OfLoss = ["manual-failover", "region-failure"];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>
    /// Each takes as long as all that are short, and differs from another that runs the same children (`region-failure`) by few steps of its own. `failback` has
    /// the steps of `switchover`.
    /// </summary>
    private static readonly string[] Long = ["manual-failover", "drill-failover", "drill-scenario", "drill-practice", "failback"];

    public static TheoryData<string> Names() => [.. RunbookLibrary.ShippedNames.Except(Long)];

    public static TheoryData<string> LongNames() => [.. Long];

    [Theory(Timeout = 600_000), Trait("Category", "long")]
    [MemberData(nameof(LongNames))]
    public Task ShippedLong_CrashedEverywhereAndUnlucky_EndsAsIfNothingHadHappened(string name) => SurvivesAsync(name);

    [Theory(Timeout = 600_000)]
    [MemberData(nameof(Names))]
    public Task Shipped_CrashedEverywhereAndUnlucky_EndsAsIfNothingHadHappened(string name) => SurvivesAsync(name);

    private static async Task SurvivesAsync(string name)
    {
        var all = WithChildren(RunbookLibrary.Shipped(name)).DistinctBy(r => r.Name).ToList();
        var inputs = all[0].Inputs.Where(i => i.Required || (i.Name is "region" or "target")).Select(i => Given.TryGetValue(i.Name, out var value)
            ? (i.Name, value)
            : throw new InvalidOperationException($"'{name}' needs the input '{i.Name}': give it a value in {nameof(ShippedRunbooksTests)}.{nameof(Given)}.")).ToArray();
        var report = await new SurvivalKit(all, () => ShippedWorld.Make(OfLoss.Contains(name)), inputs).RunAsync(Cancel);
        TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {report}");
        Assert.Empty(report.Faults);
        // Each step ends in a write of its own, besides the run's beginning and end; the next one's beginning goes with it.
        Assert.True(report.Cases["crashes"] >= 2 * (2 + all[0].Steps.Count), report.ToString());
    }

    [Fact(Timeout = 120_000)]
    public async Task Kit_AShippedRunbookWithAnActionThatCannotSayWhetherItActed_IsFound()
    {
        var planted = RunbookLibrary.Shipped("drain-region") with { Name = "planted" };
        planted = planted with { Steps = [planted.Steps[0] with { Id = "blind", Action = "things.blind", With = new Dictionary<string, string> { ["name"] = "x" } }, .. planted.Steps] };
        var report = await new SurvivalKit([planted], () =>
        {
            var (shipped, things) = (ShippedWorld.Make(lost: false), Things.World());
            return shipped with { Actions = [.. shipped.Actions, .. things.Actions], Effects = () => [.. shipped.Effects(), .. things.Effects()], State = () => $"{shipped.State()} {things.State()}" };
        }, ("region", ShippedWorld.Region)).RunAsync(Cancel);
        TestContext.Current.TestOutputHelper?.WriteLine(report.ToString());
        Assert.Contains(report.Faults, f => f.StartsWith("crash ", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("manual-failover", new[] { "assessment", "decision", "notification", "execution", "verification", "communication" })]
    [InlineData("region-failure", new[] { "Verify failure scope and impact", "Activate incident response team", "Execute failover to standby region", "Communicate with stakeholders", "Monitor recovery and system health", "Conduct post-incident review" })]
    [InlineData("planned-maintenance", new[] { "Schedule during low-traffic periods", "Notify users in advance", "Use canary deployments for updates", "Monitor metrics during deployment", "Have rollback plan ready" })]
    [InlineData("emergency-maintenance", new[] { "Assess urgency and impact", "Implement immediate fixes", "Communicate with affected users", "Monitor system stability", "Document lessons learned" })]
    [InlineData("high-latency", new[] { "Check performance dashboard for affected services", "Identify slow queries and optimize if possible", "Scale up affected services if resource-constrained", "Consider traffic shifting to healthy regions", "Implement temporary caching if appropriate" })]
    [InlineData("budget-breach", new[] { "Identify root cause of performance degradation", "Implement immediate mitigation (scaling, caching)", "Optimize code or queries causing issues", "Update performance budgets if necessary", "Prevent similar issues through monitoring" })]
    public void Shipped_EachNumberedStepOfTheList_IsAStep(string name, string[] list)
    {
        var steps = RunbookLibrary.Shipped(name).Steps;
        Assert.Empty(list.Except(steps.SelectMany(s => new[] { s.Id, s.Title })));
    }

    [Theory]
    [InlineData("high-latency", "shift", "queries")]
    [InlineData("budget-breach", "mitigate", "cause")]
    [InlineData("emergency-maintenance", "drain", "assess")]
    [InlineData("region-failure", "failover", "review")]
    public void Shipped_WhatHelpsUsers_StandsBeforeTheSearch(string name, string helps, string searches)
    {
        var ids = RunbookLibrary.Shipped(name).Steps.Select(s => s.Id).ToList();
        Assert.True(ids.IndexOf(helps) >= 0 && ids.IndexOf(helps) < ids.IndexOf(searches));
    }

    private static IEnumerable<Runbook> WithChildren(Runbook runbook) =>
        runbook.Steps.SelectMany(s => new[] { s.Runbook, s.UndoBy?.Runbook }).OfType<string>().SelectMany(child => WithChildren(RunbookLibrary.Shipped(child))).Prepend(runbook);
}
