using BuildRunner.Core.Runbooks;

namespace BuildRunner.Core.Tests.Runbooks;

public class RunbookTargetsTests
{
    private static readonly string[] Regions = ["us-east-1", "us-west-1"];
    private static readonly string[] Databases = ["main"];

    [Theory]
    [InlineData("region", "us-west-1", false)]
    [InlineData("region", "us-west-9", true)]
    [InlineData("region", "${where}", false)]
    [InlineData("region", "", false)]
    [InlineData("target", "mars-1", true)]
    [InlineData("database", "main", false)]
    [InlineData("database", "orders", true)]
    [InlineData("text", "mars-1", false)]
    public void Missing_AnArgument_IsJudgedByItsName(string name, string value, bool wrong)
    {
        var runbook = new Runbook { Name = "r", Title = "R", Steps = [new() { Id = "a", Title = "A", Action = "x.y", With = new Dictionary<string, string> { [name] = value } }] };
        var missing = RunbookTargets.Missing(runbook, Regions, Databases);
        Assert.Equal(wrong ? 1 : 0, missing.Count);
        if (wrong)
            Assert.Contains($"'{value}'", missing[0], StringComparison.Ordinal);
        Assert.Empty(RunbookTargets.Missing(runbook, [], Databases)); // a policy without regions says nothing
    }

    [Fact]
    public void Missing_DefaultsAndCalls_AreJudgedToo()
    {
        var runbook = new Runbook
        {
            Name = "r", Title = "R", Inputs = [new("region", "where", Default: "mars-1")],
            Steps = [new() { Id = "a", Title = "A", Action = "x.y", Verify = new StepCall { Action = "health.verify", With = new Dictionary<string, string> { ["region"] = "us-west-2" } } }],
        };
        Assert.Equal(2, RunbookTargets.Missing(runbook, Regions, Databases).Count);
    }

    [Fact]
    public void Expected_IsTheSumOfTheStepsMedians_UntilTrafficResumes()
    {
        var runbook = new Runbook { Name = "r", Title = "R", Steps = [new() { Id = "a", Title = "A", Action = "x" }, new() { Id = "b", Title = "B", Action = "x" }, new() { Id = "c", Title = "C", Action = "x", AfterResume = true }] };
        Assert.Null(RunTimes.Expected(runbook, []));
        Dictionary<string, double>[] runs = [new() { ["a"] = 100, ["b"] = 10, ["c"] = 9999 }, new() { ["a"] = 300 }, new() { ["a"] = 200, ["b"] = 30 }];
        Assert.Equal(200 + 30, RunTimes.Expected(runbook, runs));
        Assert.Equal("about 3 s", RunTimes.About(2800));
        Assert.Equal("about 12 min", RunTimes.About(12 * 60_000));
    }
}
