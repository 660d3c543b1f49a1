using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Tests.Recovery;

public class FailoverVerdictTests
{
    [Theory]
    [InlineData(4, 3, true)] // four failures, as three of four see it
    [InlineData(3, 3, false)] // three are not more than three
    [InlineData(4, 2, false)] // two of four are no majority
    [InlineData(9, 4, true)]
    public void Decide_FailuresAndMajority(int failures, int seers, bool lost)
    {
        var observers = new[] { "server", "east", "west", "europe" }.Select((name, i) => Observer(name, i < seers ? failures : 0)).ToList();
        Assert.Equal(lost, FailoverVerdict.Decide("east", observers).Lost);
    }

    /// <summary>A lease that nobody asks for is what the server sees, and counts as one observer among the others.</summary>
    [Theory]
    [InlineData(2, true)]
    [InlineData(1, false)]
    [InlineData(0, false)]
    public void Decide_LeaseNotAskedFor_IsTheServersObservationAndNoMore(int gatewaysThatSeeIt, bool lost)
    {
        var observers = new[] { "server", "east", "west", "europe", "asia" }.Select((name, i) => Observer(name, i > 0 && i <= gatewaysThatSeeIt ? 9 : 0)).ToList();
        Assert.False(FailoverVerdict.Decide("east", observers).Lost);
        var verdict = FailoverVerdict.Decide("east", observers, unasked: TimeSpan.FromSeconds(10.2));
        Assert.Equal((lost, gatewaysThatSeeIt + 1), (verdict.Lost, verdict.Against));
        Assert.Contains("10.2 s", gatewaysThatSeeIt == 0 ? verdict.Reason : FailoverVerdict.Decide("east", [observers[0]], unasked: TimeSpan.FromSeconds(10.2)).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Decide_TwoObserversAreNotEnough() =>
        Assert.Contains("3 must report", FailoverVerdict.Decide("east", [Observer("server", 9), Observer("west", 9)]).Reason, StringComparison.Ordinal);

    [Fact]
    public void Decide_SilentOnesSayNothing() =>
        Assert.False(FailoverVerdict.Decide("east", [Observer("server", 9), Observer("west", 9), Observer("europe", 9) with { SilentFor = TimeSpan.FromSeconds(4) }]).Lost);

    [Fact]
    public void Decide_RegionCutOff_ItsOwnGatewayIsOutvoted() =>
        Assert.True(FailoverVerdict.Decide("east", [Observer("server", 9), Observer("west", 9), Observer("europe", 9), Observer("east", 0)]).Lost);

    [Fact]
    public void Decide_OneServiceOfTwoIsNoLoss()
    {
        var observers = new[] { "server", "west", "europe" }.Select(name => Observer(name, 0) with
        {
            Sightings = [See("gateway", 0), See("api", 9), See("web", 0)],
        }).ToList();
        Assert.False(FailoverVerdict.Decide("east", observers).Lost);
        Assert.True(FailoverVerdict.Decide("east", [.. observers.Select(o => o with { Sightings = [See("gateway", 0), See("api", 9), See("web", 5)] })]).Lost);
        Assert.True(FailoverVerdict.Decide("east", [.. observers.Select(o => o with { Sightings = [See("gateway", 0), See("api", 0), See("db", 4)] })]).Lost);
    }

    [Fact]
    public void Decide_WellWhenWhatItNeedsIsUp()
    {
        Assert.True(Verdict(See("gateway", 0), See("db", 0), See("api", 0), See("web", 2)).Well);
        Assert.False(Verdict(See("gateway", 0), See("db", 0), See("api", 2), See("web", 2)).Well); // coming up
        Assert.False(Verdict(See("gateway", 0), See("db", 2), See("api", 0)).Well);

        static FailoverVerdict Verdict(params Sighting[] seen) =>
            FailoverVerdict.Decide("east", [.. new[] { "server", "west", "europe" }.Select(name => Observer(name, 0) with { Sightings = seen })]);
    }

    private static Observer Observer(string name, int failures) => new() { Name = name, Region = name == "server" ? null : name, Sightings = [See("gateway", failures)] };

    private static Sighting See(string service, int failures) => new() { Region = "east", Service = service, Up = failures == 0, FailuresInRow = failures, Error = "connection refused" };
}
