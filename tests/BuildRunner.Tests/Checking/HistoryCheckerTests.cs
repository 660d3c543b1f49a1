using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Checking;

/// <summary>Planted violations are found, and what looks like one and is none is let be.</summary>
[Trait("Category", "unit")]
public sealed class HistoryCheckerTests
{
    private static readonly Guid A = new(1, 0, 0, new byte[8]);
    private static readonly Guid B = new(2, 0, 0, new byte[8]);

    [Fact]
    public void Judge_CleanHistory_IsNothing() =>
        Assert.Empty(HistoryChecker.Judge([Op(A, 0, 1, epoch: 1), Op(B, 2, 3, epoch: 2)], End([A, B])));

    /// <summary>Sent at 5: before the higher epoch's first answer at 6 it may still be answered, after it never.</summary>
    [Theory]
    [InlineData(6, false)]
    [InlineData(4, true)]
    public void Judge_LowerEpochAfterAHigherOne_IsOneAcknowledger(long firstOfTwo, bool violated) =>
        Found(violated, "OneAcknowledger", HistoryChecker.Judge([Op(A, 0, firstOfTwo, epoch: 2), Op(B, 5, 9, epoch: 1)], End([A, B])));

    [Fact]
    public void Judge_ThreeEpochs_TheEarliestOfAllAboveCounts() =>
        Found(true, "OneAcknowledger", HistoryChecker.Judge([Op(A, 0, 3, epoch: 3), Op(Guid.NewGuid(), 6, 8, OrderOutcomeKind.Unknown, epoch: 2), Op(B, 5, 9, epoch: 1)], End([A, B])));

    [Theory]
    [InlineData(1, 1, true, true)]
    [InlineData(1, 2, false, true)]
    [InlineData(1, 2, true, false)]
    public void Judge_CounterAnsweredTwice_OnlyWhatIsReportedLostMayBe(long epochOfA, long epochOfB, bool reported, bool violated)
    {
        var history = new[] { Op(A, 0, 1, epoch: epochOfA) with { Number = 7, Transaction = 70 }, Op(B, 2, 3, epoch: epochOfB) with { Number = 7, Transaction = 71 } };
        Found(violated, "OneAcknowledger", HistoryChecker.Judge(history, End([B], reported ? [new Salvage(1, "east", 1, new HashSet<uint> { 70 })] : [])));
    }

    [Theory]
    [InlineData(OrderOutcomeKind.Fail, 1, "NoLostAck")]
    [InlineData(OrderOutcomeKind.Ok, 2, "NoWriteTwice")]
    [InlineData(OrderOutcomeKind.Unknown, 2, "NoWriteTwice")]
    [InlineData(OrderOutcomeKind.Unknown, 1, null)]
    [InlineData(OrderOutcomeKind.Unknown, 0, null)]
    [InlineData(OrderOutcomeKind.Fail, 0, null)]
    public void Judge_WhatIsThere_FitsWhatWasSaid(OrderOutcomeKind said, int times, string? invariant)
    {
        var found = HistoryChecker.Judge([Op(A, 0, 1, said, epoch: 1)], End(Enumerable.Repeat(A, times)));
        if (invariant is null)
            Assert.Empty(found);
        else
            Found(true, invariant, found);
    }

    [Fact]
    public void Judge_ReportNamesOtherTransactions_IsLossReported() => Found(true, "LossReported", HistoryChecker.Judge(
        [Op(A, 0, 1, epoch: 1) with { Transaction = 70 }], End([], [new Salvage(1, "east", 1, new HashSet<uint> { 70 }) { Named = new HashSet<uint> { 71 } }])));

    [Theory]
    [InlineData(true, 1L, true, false)]
    [InlineData(true, 2L, true, true)] // more commits than its WAL holds
    [InlineData(true, 0L, true, true)] // fewer commits than acknowledged writes
    [InlineData(true, null, true, true)] // nobody could count
    [InlineData(true, 5L, false, true)] // another transaction was lost, not this one
    [InlineData(false, 0L, false, true)] // nothing was salvaged of its epoch
    public void Judge_MissingAcknowledged_IsLossReported(bool salvaged, long? commits, bool itsTransaction, bool violated)
    {
        var end = End([], salvaged ? [new Salvage(1, "east", commits, new HashSet<uint> { itsTransaction ? 70u : 99u })] : [new Salvage(2, "west", 9, new HashSet<uint>())]);
        Found(violated, "LossReported", HistoryChecker.Judge([Op(A, 0, 1, epoch: 1) with { Transaction = 70 }], end));
    }

    [Fact]
    public void Judge_MissingAcknowledged_WhereNothingMayBeLost_IsNoLostAck() =>
        Found(true, "NoLostAck", HistoryChecker.Judge([Op(A, 0, 1, epoch: 1)], End([], [new Salvage(1, "east", 9, new HashSet<uint>())]), lossAllowed: false));

    [Fact]
    public void Judge_TheEnd_IsConverges()
    {
        Found(true, "Converges", HistoryChecker.Judge([], End([]) with { Primaries = ["east", "west"] }));
        Found(true, "Converges", HistoryChecker.Judge([], End([]) with { Primaries = [] }));
        Found(true, "Converges", HistoryChecker.Judge([], End([]) with { Checksums = new Dictionary<string, string> { ["east"] = "1", ["west"] = "2" } }));
        Found(true, "Converges", HistoryChecker.Judge([], End([]) with { Left = ["a hold is left"] }));
    }

    private static void Found(bool violated, string invariant, IReadOnlyList<string> lines)
    {
        if (violated)
            Assert.Contains(lines, l => l.StartsWith(invariant, StringComparison.Ordinal));
        else
            Assert.Empty(lines);
    }

    private static Operation Op(Guid id, long invoked, long completed, OrderOutcomeKind outcome = OrderOutcomeKind.Ok, long? epoch = null) => new("a client", id, invoked, completed, outcome) { Epoch = epoch };

    private static FinalState End(IEnumerable<Guid> held, IReadOnlyList<Salvage>? salvaged = null) => new()
    {
        Held = held.GroupBy(id => id).ToDictionary(g => g.Key, g => g.Count()),
        Salvaged = salvaged ?? [],
        Primaries = ["east"],
        Checksums = new Dictionary<string, string> { ["east"] = "1", ["west"] = "1" },
    };
}
