using BuildRunner.Server.Gateway;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Gateway;

/// <summary>What an outage is: from the first write that was not acknowledged at once to the first acknowledged one of the next epoch.</summary>
[Trait("Category", "unit")]
public sealed class WriteLedgerTests
{
    private readonly FakeTimeProvider _time = new();

    [Fact]
    public void Outage_NobodyWroteForAMinute_CountsFromTheFirstHeldWrite()
    {
        var ledger = new WriteLedger(_time);
        ledger.Acknowledged("main", 1, _time.GetTimestamp());
        _time.Advance(TimeSpan.FromMinutes(1));
        var held = _time.GetTimestamp();
        ledger.Delayed("main", held);
        _time.Advance(TimeSpan.FromSeconds(3));
        ledger.Delayed("main", _time.GetTimestamp());
        _time.Advance(TimeSpan.FromSeconds(1));

        Assert.True(ledger.Acknowledged("main", 2, held));
        Assert.Equal(4000, Outage(ledger, 2));
    }

    [Fact]
    public void Outage_AWriterEvery20Ms_IsItsGap()
    {
        var ledger = new WriteLedger(_time);
        ledger.Acknowledged("main", 1, _time.GetTimestamp());
        for (var i = 0; i < 100; i++)
        {
            _time.Advance(TimeSpan.FromMilliseconds(20));
            ledger.Delayed("main", _time.GetTimestamp());
        }
        _time.Advance(TimeSpan.FromMilliseconds(20));
        ledger.Acknowledged("main", 2, _time.GetTimestamp());
        Assert.Equal(2000, Outage(ledger, 2));
    }

    [Fact]
    public void Outage_NoWriteWaited_IsTheWriteItself()
    {
        var ledger = new WriteLedger(_time);
        ledger.Acknowledged("main", 1, _time.GetTimestamp());
        _time.Advance(TimeSpan.FromMinutes(5));
        var arrived = _time.GetTimestamp();
        _time.Advance(TimeSpan.FromMilliseconds(7));
        ledger.Acknowledged("main", 2, arrived);
        Assert.Equal(7, Outage(ledger, 2));
    }

    [Fact]
    public void Outage_ADelayBeforeTheLastAcknowledgedWrite_IsForgotten()
    {
        var ledger = new WriteLedger(_time);
        var early = _time.GetTimestamp();
        ledger.Acknowledged("main", 1, early);
        ledger.Delayed("main", early);
        _time.Advance(TimeSpan.FromSeconds(10));
        ledger.Acknowledged("main", 1, _time.GetTimestamp());
        _time.Advance(TimeSpan.FromSeconds(1));
        ledger.Acknowledged("main", 2, _time.GetTimestamp());
        Assert.Equal(0, Outage(ledger, 2));
    }

    [Fact]
    public void Outage_NoEpochBefore_IsUnknown()
    {
        var ledger = new WriteLedger(_time);
        ledger.Delayed("main", _time.GetTimestamp());
        ledger.Acknowledged("main", 5, _time.GetTimestamp());
        Assert.Null(Outage(ledger, 5));
    }

    private static double? Outage(WriteLedger ledger, long epoch) => ledger.Read().Single(w => w.Epoch == epoch).OutageMs;
}
