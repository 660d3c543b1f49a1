using BuildRunner.Core.Routing;
using CsCheck;

namespace BuildRunner.Core.Tests.Routing;

public class TrafficHoursTests
{
    private static readonly DateTimeOffset Midnight = new(2026, 11, 20, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Quietest_LessThanADay_IsUnknown()
    {
        Assert.Null(new TrafficHours().Quietest(Midnight));
        Assert.Null(Measured(23 * 60, minute => 100).Quietest(Midnight.AddHours(23)));
    }

    [Fact]
    public void Quietest_ADay_IsTheHourWithTheFewestRequests_AndItsNextBegin()
    {
        // 60 a minute, and from 03:00 to 04:00 six.
        var quiet = Measured((24 * 60) + 1, minute => minute / 60 == 3 ? 6 : 60).Quietest(Midnight.AddHours(24))!;
        Assert.Equal(Midnight.AddDays(1).AddHours(3), quiet.Begin);
        Assert.Equal(0.1, quiet.Rate, 2);
        Assert.Equal(1, quiet.Days);
        Assert.Equal(Midnight.AddDays(2).AddHours(3), Measured((24 * 60) + 1, minute => minute / 60 == 3 ? 6 : 60).Quietest(Midnight.AddDays(1).AddHours(3))!.Begin);
    }

    [Fact]
    public void Count_AGatewayBeginsAnew_CountsFromZero_AndOneThatIsNewAddsNothingYet()
    {
        var first = TrafficHours.Count(new(), Marks(("a", "1", 1000)), Midnight);
        Assert.Empty(first.Hours); // a counter alone says nothing about an hour
        var second = TrafficHours.Count(first, Marks(("a", "1", 1100), ("b", "1", 5000)), Midnight.AddMinutes(1));
        Assert.Equal(100, Assert.Single(second.Hours).Requests);
        var third = TrafficHours.Count(second, Marks(("a", "2", 30), ("b", "1", 5010)), Midnight.AddMinutes(2));
        Assert.Equal(140, Assert.Single(third.Hours).Requests);
    }

    [Theory]
    [InlineData(5, 1)]
    [InlineData(6, 0)]
    public void Count_AGap_IsNotMeasured(int minutes, int hours)
    {
        var first = TrafficHours.Count(new(), Marks(("a", "1", 0)), Midnight);
        Assert.Equal(hours, TrafficHours.Count(first, Marks(("a", "1", 600)), Midnight.AddMinutes(minutes)).Hours.Count);
    }

    [Fact]
    public void Count_AnyCourse_KeepsAtMostFourteenDays_AndNoHourHasMoreThanSixtyMinutes() =>
        Gen.Int[0, 2000].Select(Gen.Int[0, 90], (requests, minutes) => (requests, minutes)).List[1, 60].Sample(course =>
        {
            var (hours, at, total) = (TrafficHours.Count(new(), Marks(("a", "1", 0)), Midnight), Midnight, 0L);
            foreach (var (requests, minutes) in course)
            {
                at = at.AddMinutes(minutes);
                total += requests;
                hours = TrafficHours.Count(hours, Marks(("a", "1", total)), at);
            }
            return hours.Hours.Count <= TrafficHours.HoursMax && hours.Hours.All(h => h.Minutes is >= 0 and <= 60 && h.Requests >= 0) && hours.Hours.Sum(h => h.Requests) <= total
                && hours.Hours.Zip(hours.Hours.Skip(1)).All(p => p.First.Begin < p.Second.Begin);
        });

    [Fact]
    public void Count_LongerThanFourteenDays_ForgetsTheOldest()
    {
        var hours = Measured(16 * 24 * 60, _ => 1);
        Assert.Equal(TrafficHours.HoursMax, hours.Hours.Count);
        Assert.Equal(Midnight.AddDays(2), hours.Hours[0].Begin);
    }

    private static TrafficHours Measured(int minutes, Func<int, int> perMinute)
    {
        var (hours, total) = (TrafficHours.Count(new(), Marks(("a", "1", 0)), Midnight.AddSeconds(-1)), 0L);
        for (var minute = 0; minute < minutes; minute++)
        {
            total += perMinute(minute);
            hours = TrafficHours.Count(hours, Marks(("a", "1", total)), Midnight.AddMinutes(minute).AddSeconds(30));
        }
        return hours;
    }

    private static Dictionary<string, TrafficMark> Marks(params (string Region, string Incarnation, long Requests)[] marks) => marks.ToDictionary(m => m.Region, m => new TrafficMark(m.Incarnation, m.Requests));
}
