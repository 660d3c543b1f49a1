using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Agent;

[Trait("Category", "unit")]
public sealed class StreamWatchTests
{
    private readonly FakeTimeProvider _time = new();

    /// <summary>What a standby shows whose primary has dropped the WAL that it needs: a receiver each time, never an old one.</summary>
    [Fact]
    public void Look_ReceiverComesAndGoes_IsStuck()
    {
        var watch = new StreamWatch(_time);
        for (var i = 0; i <= 30; i++)
        {
            Assert.Equal(TimeSpan.FromMilliseconds(200 * i), watch.Look(Standby("0/3000000", streaming: i % 2 == 0), 1, TimeSpan.FromMilliseconds(7)));
            _time.Advance(TimeSpan.FromMilliseconds(200));
        }
    }

    [Theory]
    [InlineData(true, 1, 1000, 0)]
    [InlineData(true, 1, 999, 6)]
    [InlineData(true, 2, 5000, 6)] // a stream of another epoch
    [InlineData(false, 1, 5000, 6)]
    [InlineData(true, 1, null, 6)]
    public void Look_NothingNew_StuckUnlessAStreamLasts(bool streaming, long marker, int? ageMs, int stuckSeconds)
    {
        var watch = new StreamWatch(_time);
        watch.Look(Standby("0/3000000", streaming: false), 1, null);
        _time.Advance(TimeSpan.FromSeconds(6));
        Assert.Equal(TimeSpan.FromSeconds(stuckSeconds), watch.Look(Standby("0/3000000", streaming, marker), 1, ageMs is { } ms ? TimeSpan.FromMilliseconds(ms) : null));
    }

    [Fact]
    public void Look_ReplayMovesOrSomethingWasChanged_CountsAnew()
    {
        var watch = new StreamWatch(_time);
        watch.Look(Standby("0/3000000", streaming: false), 1, null);
        _time.Advance(TimeSpan.FromSeconds(6));
        Assert.Equal(TimeSpan.Zero, watch.Look(Standby("0/3000028", streaming: false), 1, null));
        _time.Advance(TimeSpan.FromSeconds(6));
        watch.Begin();
        Assert.Equal(TimeSpan.Zero, watch.Look(Standby("0/3000028", streaming: false), 1, null));
        _time.Advance(TimeSpan.FromSeconds(6));
        Assert.Equal(TimeSpan.Zero, watch.Look(null, 1, null));
    }

    private static DatabaseReading Standby(string replayed, bool streaming, long marker = 1) =>
        new() { Database = "main", State = DatabaseState.Standby, Replayed = Lsn.Parse(replayed), Streaming = streaming, MarkerEpoch = marker };
}
