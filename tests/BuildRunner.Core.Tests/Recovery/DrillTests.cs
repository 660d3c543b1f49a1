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

    [Theory]
    [InlineData("success", 1, 5, null)]
    [InlineData("success", 15, 5, "drill.old")]
    [InlineData("failed", 1, 5, "drill.failed")]
    [InlineData("success", 1, 31, "drill.slow")]
    public void Readiness_ByTheLastDrill(string outcome, int daysAgo, double minutes, string? code) => Assert.Equal(code, DrillReadiness.Judge(new DrillRecord
    {
        Id = "drill-1", Type = "manual", Kind = "failover", Scenario = "s", StartedAt = Now.AddDays(-daysAgo), EndedAt = Now.AddDays(-daysAgo), Outcome = outcome, Notes = "",
        RtoAchievedMinutes = minutes, RtoObjectiveMinutes = 30, RpoObjectiveMinutes = 15,
    }, Now, TimeSpan.FromDays(14))?.Code);

    [Fact]
    public void Readiness_NoDrill_IsUnknown() => Assert.Equal("drill.unknown", DrillReadiness.Judge(null, Now, TimeSpan.FromDays(14))?.Code);
}
