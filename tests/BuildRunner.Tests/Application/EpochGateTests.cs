using BuildRunner.Application;

namespace BuildRunner.Tests.Application;

public sealed class EpochGateTests
{
    private static readonly WriteAddress s_open = new() { Epoch = 5, Open = true, Write = new("127.0.0.1", 5433) };

    [Theory]
    [InlineData("GET", "4")]
    [InlineData("HEAD", null)]
    [InlineData("POST", "5")]
    [InlineData("POST", null)]
    [InlineData("DELETE", "5")]
    public void Decide_ReadOrSameEpoch_Passes(string method, string? header) =>
        Assert.Equal(new EpochDecision.Pass(5), EpochGate.Decide(method, writesNothing: false, header, s_open));

    [Theory]
    [InlineData("POST", "4")]
    [InlineData("PUT", "6")]
    [InlineData("PATCH", "0")]
    [InlineData("BREW", "4")]
    public void Decide_WriteOfAnotherEpoch_IsMisdirected(string method, string header) =>
        Assert.IsType<EpochDecision.Misdirected>(EpochGate.Decide(method, writesNothing: false, header, s_open));

    [Theory]
    [InlineData("5")]
    [InlineData(null)]
    public void Decide_WriteWhileClosed_IsMisdirected(string? header) =>
        Assert.IsType<EpochDecision.Misdirected>(EpochGate.Decide("POST", writesNothing: false, header, s_open with { Open = false }));

    [Fact]
    public void Decide_PostThatWritesNothingWhileClosed_Passes() =>
        Assert.IsType<EpochDecision.Pass>(EpochGate.Decide("POST", writesNothing: true, "4", s_open with { Open = false }));

    [Theory]
    [InlineData("five")]
    [InlineData("-5")]
    [InlineData("")]
    [InlineData("5 ")]
    public void Decide_HeaderNoNumber_IsMalformed(string header) =>
        Assert.IsType<EpochDecision.Malformed>(EpochGate.Decide("POST", writesNothing: false, header, s_open));

    [Fact]
    public void Decide_TwoHeaders_IsMalformed() =>
        Assert.IsType<EpochDecision.Malformed>(EpochGate.Decide("POST", writesNothing: false, new(["5", "5"]), s_open));
}
