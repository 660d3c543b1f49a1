using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Agent;

public class ReplicaLagTests
{
    private static readonly Lsn Early = Lsn.Parse("0/3000000"), Late = Lsn.Parse("0/3000100"), Later = Lsn.Parse("0/3000200");
    private readonly FakeTimeProvider _time = new();
    private readonly ReplicaLag _lag;

    private static Lsn At(int second) => Lsn.Parse($"1/{second * 4096:X}");

    public ReplicaLagTests() => _lag = new(_time);

    [Fact]
    public void Seconds_JustStartedAndThePrimaryHasSaidNothing_Zero() => Assert.Equal(0, _lag.Seconds(true, Late, null, null, sinceCommit: 557.7));

    [Fact]
    public void Seconds_EverythingKnownReplayedAfterAQuietTime_Zero() => Assert.Equal(0, _lag.Seconds(true, Late, Early, Late, sinceCommit: 557.7));

    [Fact]
    public void Seconds_NeverStreamed_Unknown() => Assert.Null(_lag.Seconds(false, Late, Late, Late, sinceCommit: 3));

    [Fact]
    public void Seconds_BehindAfterAQuietTime_CountsFromTheLastMomentItHeldEverything()
    {
        _lag.Seconds(true, Late, Late, Late, 557.7);
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(2, _lag.Seconds(true, Late, Late, Later, 559.7));
    }

    [Fact]
    public void Seconds_BehindUnderLoad_IsTheAgeOfTheNewestLookWhoseWritesAreReplayedWhateverTheOtherHostsClockSays()
    {
        _lag.Seconds(true, At(0), At(0), At(0), 0);
        for (var second = 1; second <= 1000; second++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            var lag = _lag.Seconds(true, At(Math.Max(0, second - 3)), At(second), At(second), sinceCommit: -40);
            Assert.Equal(Math.Min(second, 3), lag);
        }
    }

    [Fact]
    public void Seconds_StuckForLonger_ThanNotesAreKept_StaysTrueAndOnlyCoarser()
    {
        _lag.Seconds(true, At(0), At(0), At(0), 0);
        for (var second = 1; second <= 5000; second++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal(second, _lag.Seconds(true, At(0), At(second), At(second), 0));
        }
        Assert.InRange(_lag.Seconds(true, At(2500), At(5000), At(5000), 0)!.Value, 2500, 2600);
    }

    [Fact]
    public void Seconds_ReplayedWhatWasKnownALookAgo_HeldEverythingThen()
    {
        Assert.Equal(100, _lag.Seconds(true, Early, Late, Late, 100)); // nothing better is known
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(1, _lag.Seconds(true, Late, Later, Later, 100));
    }

    [Fact]
    public void Seconds_StreamEnded_GoesOnFromThen()
    {
        _lag.Seconds(true, Late, Late, Late, 0);
        _time.Advance(TimeSpan.FromSeconds(7));
        Assert.Equal(7, _lag.Seconds(false, Late, Late, Late, 30));
    }

    [Fact]
    public void Seconds_WasAPrimaryMeanwhile_WhatItHeldIsForgotten()
    {
        _lag.Seconds(true, Late, Late, Late, 0);
        _lag.Forget();
        Assert.Null(_lag.Seconds(false, Late, Late, Late, 30));
    }
}
