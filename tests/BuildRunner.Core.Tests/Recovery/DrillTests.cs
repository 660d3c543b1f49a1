using BuildRunner.Core.Recovery;

namespace BuildRunner.Core.Tests.Recovery;

public class DrillTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 27, 12, 0, 0, TimeSpan.Zero);
    private static readonly DrillRegion East = new("east", "primary", null, ["west"], ["br_west"], "healthy", "100 %", null, "");
    private static readonly DrillState Before = new() { Primary = "east", Regions = [East, new("west", "standby", "east", [], [], "healthy", "100 %", null, "")], Names = ["shop A 127.0.1.1"], Holds = [] };

    [Fact]
    public void Differences_SameHouse_None() => Assert.Empty(DrillState.Differences(Before, Before with { Regions = [.. Before.Regions] }));

    [Fact]
    public void Differences_EachFieldIsNamed()
    {
        DrillState[] after =
        [
            Before with { Primary = "west" }, Before with { Names = [] }, Before with { Holds = ["holds/main"] }, Before with { Regions = [Before.Regions[1]] },
            With(East with { State = "fenced" }), With(East with { Following = "west" }), With(East with { Copies = [] }), With(East with { Slots = ["br_west", "br_old"] }),
            With(East with { Health = "degraded" }), With(East with { Share = "50 %" }), With(East with { Fault = "kill by drill" }), With(East with { SyncNames = "FIRST 1 (br_gate)" }),
        ];
        Assert.All(after, state => Assert.Single(DrillState.Differences(Before, state)));

        static DrillState With(DrillRegion east) => Before with { Regions = [east, Before.Regions[1]] };
    }

    private static readonly DrillSlot Weekly = new() { Kind = "failover", Cron = "0 3 * * 0", Period = TimeSpan.FromDays(7), Since = Now.AddDays(-60) };

    private static DrillRecord Drill(string outcome, int daysAgo, double? minutes = 5, string kind = "failover") => new()
    {
        Id = $"drill-{daysAgo}", Type = "manual", Kind = kind, Scenario = "s", StartedAt = Now.AddDays(-daysAgo), EndedAt = Now.AddDays(-daysAgo), Outcome = outcome, Notes = "",
        RtoAchievedMinutes = minutes, RpoAchievedMinutes = 0, RtoObjectiveMinutes = 30, RpoObjectiveMinutes = 15,
    };

    [Theory]
    [InlineData("success", 1, 5, null)]
    [InlineData("success", 14, 5, null)]
    [InlineData("success", 15, 5, "drill.overdue")]
    [InlineData("failed", 1, 5, "drill.failed")]
    [InlineData("success", 1, 31, "drill.slow")]
    public void Readiness_ByTheLastDrill(string outcome, int daysAgo, double minutes, string? code) => Assert.Equal(code, DrillReadiness.Judge(Weekly, [Drill(outcome, daysAgo, minutes)], Now)?.Code);

    [Fact]
    public void Readiness_NoDrill_IsUnknown_AndOneThatAPersonAbortedOrOnlyEvaluatedProvesNothing()
    {
        Assert.Equal("drill.unknown", DrillReadiness.Judge(Weekly, [], Now)?.Code);
        Assert.Equal("drill.unknown", DrillReadiness.Judge(Weekly, [Drill("aborted", 1) with { AbortedBy = "ada" }, Drill("success", 1) with { DryRun = true }], Now)?.Code);
    }

    [Fact]
    public void Readiness_ADrillThatTookItselfBack_Failed() =>
        Assert.Equal("drill.failed", DrillReadiness.Judge(Weekly, [Drill("aborted", 1) with { AbortedBy = DrillRecord.OutageMax }, Drill("success", 3)], Now)?.Code);

    [Fact]
    public void Readiness_AnotherKind_IsOverdueOnlyWhenTwoOfItsTimesHavePassed()
    {
        var monthly = Weekly with { Kind = "scenario", Period = TimeSpan.FromDays(30) };
        Assert.Null(DrillReadiness.Judge(monthly, [Drill("success", 1)], Now));
        Assert.Equal("drill.overdue", DrillReadiness.Judge(monthly with { Since = Now.AddDays(-61) }, [Drill("success", 1)], Now)?.Code);
        Assert.Contains("drill arm", DrillReadiness.Judge(monthly with { Since = Now.AddDays(-61) }, [], Now)?.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void Trend_ComparesTheLastWithThoseBefore_AndLeavesOutWhatProvesNothing()
    {
        var trend = Assert.Single(DrillTrend.Of([Drill("success", 1, 1), Drill("success", 8, 1), Drill("failed", 15, null), Drill("success", 22, 4), Drill("success", 29, 40), Drill("success", 30) with { DryRun = true }, Drill("aborted", 31) with { AbortedBy = "ada" }]));
        Assert.Equal((5, 4, 3, TrendDirection.Faster), (trend.Drills, trend.Succeeded, trend.Met, trend.Direction));
        Assert.Equal((2.5, 40, 0), (trend.RtoMedianMinutes!.Value, trend.RtoWorstMinutes!.Value, trend.RpoWorstMinutes!.Value));
        Assert.Equal([40.0, 4, null, 1, 1], trend.Points.Select(p => p.RtoMinutes));
        Assert.Equal(TrendDirection.Unknown, Assert.Single(DrillTrend.Of([Drill("success", 1)])).Direction);
        Assert.Equal(TrendDirection.Slower, Assert.Single(DrillTrend.Of([Drill("success", 1, 9), Drill("success", 8, 1)])).Direction);
        Assert.Equal(TrendDirection.Steady, Assert.Single(DrillTrend.Of([Drill("success", 1, 1.05), Drill("success", 8, 1)])).Direction);
    }

    [Fact]
    public void Meets_WhatIsUnknown_IsNeitherMetNorMissed()
    {
        Assert.True(DrillTrend.Meets(Drill("success", 1)));
        Assert.Null(DrillTrend.Meets(Drill("success", 1, null)));
        Assert.False(DrillTrend.Meets(Drill("success", 1, 31)));
        Assert.False(DrillTrend.Meets(Drill("success", 1, null) with { RpoAchievedMinutes = 16 }));
    }
}
