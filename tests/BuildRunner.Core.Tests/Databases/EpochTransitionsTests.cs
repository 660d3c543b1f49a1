using BuildRunner.Core.Databases;
using CsCheck;

namespace BuildRunner.Core.Tests.Databases;

public class EpochTransitionsTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private static readonly EpochRecord Open = EpochTransitions.First("main", "east", ["east", "west", "europe"], Now);
    private static readonly EpochRecord Closing = Open with { State = EpochState.Closing, Run = "r1" };
    private static readonly EpochRecord Moving = Closing with { Epoch = 2, State = EpochState.Moving, Primary = "west", Former = new(1, "east", Proof(1, "east"), null, null) };

    [Fact]
    public void Close_Open_TakesItForTheRun()
    {
        var closed = Allowed(EpochTransitions.Close(Open, "r1", Now));
        Assert.Equal((EpochState.Closing, "r1", 1L), (closed.State, closed.Run, closed.Epoch));
    }

    [Fact]
    public void Close_SameRunAgain_AnswersTheRecord() => Assert.Same(Closing, Allowed(EpochTransitions.Close(Closing, "r1", Now)));

    [Fact]
    public void Close_AnotherRun_Refused() => Refused(EpochTransitions.Close(Closing, "r2", Now), "run r1");

    [Fact]
    public void Close_ByAnEndedRun_IsTakenOver() => Assert.Equal((EpochState.Closing, "r2"), (Allowed(EpochTransitions.Close(Closing, "r2", Now, ended: "r1")).State, Allowed(EpochTransitions.Close(Closing, "r2", Now, ended: "r1")).Run));

    [Fact]
    public void Close_AnotherRunThanTheEndedOne_Refused() => Refused(EpochTransitions.Close(Closing, "r2", Now, ended: "r0"), "run r1");

    [Fact]
    public void Close_Moving_Refused() => Refused(EpochTransitions.Close(Moving, "r1", Now), "moving");

    [Fact]
    public void Reopen_Closing_KeepsTheEpoch()
    {
        var open = Allowed(EpochTransitions.Reopen(Closing, "r1", Now));
        Assert.Equal((EpochState.Open, 1L, "east"), (open.State, open.Epoch, open.Primary));
    }

    [Fact]
    public void Reopen_Moving_Refused() => Refused(EpochTransitions.Reopen(Moving, "r1", Now), "never returns");

    [Fact]
    public void Reopen_AnotherRun_Refused() => Refused(EpochTransitions.Reopen(Closing, "r2", Now), "not by run r2");

    [Fact]
    public void Narrow_Open_LeavesTheReachableAndThePrimary()
    {
        Assert.Equal(["east", "west"], Allowed(EpochTransitions.Narrow(Open, ["west"], Now)).Candidates);
        Assert.Same(Open, Allowed(EpochTransitions.Narrow(Open, ["west", "europe"], Now)));
        Refused(EpochTransitions.Narrow(Moving, ["west"], Now), "moving");
    }

    [Fact]
    public void Take_WhatWasDoneWithoutTheServer_IsTakenWithAllCandidates()
    {
        var theirs = Open with { Epoch = 2, Primary = "west", Candidates = ["west", "europe"], Run = "r9", Former = new(1, "east", Proof(1, "east"), null, null) };
        var taken = Allowed(EpochTransitions.Take(Closing, theirs));
        Assert.Equal((2L, "west", EpochState.Open, "r9"), (taken.Epoch, taken.Primary, taken.State, taken.Run));
        Assert.Equal(["east", "west", "europe"], taken.Candidates);
        Assert.Same(taken, Allowed(EpochTransitions.Take(taken, theirs)));
    }

    [Fact]
    public void Take_AnotherHouseOlderOrTwoAtOnce_Refused()
    {
        Refused(EpochTransitions.Take(Open with { Lineage = "a" }, Open with { Lineage = "b", Epoch = 2 }), "another sequence");
        Refused(EpochTransitions.Take(Open with { Epoch = 3 }, Open with { Epoch = 2 }), "older");
        Refused(EpochTransitions.Take(Open with { Epoch = 2, Primary = "europe", Run = "r1" }, Open with { Epoch = 2, Primary = "west", Run = "r9" }), "two servers");
        Refused(EpochTransitions.Take(Open, Open with { Database = "other" }), "database other");
        Refused(EpochTransitions.Take(Moving with { State = EpochState.Open }, Moving), "older"); // the run it took over has ended here since
    }

    [Fact]
    public void Move_WithProof_GivesTheNextEpochToTheTarget()
    {
        var moving = Allowed(EpochTransitions.Move(Closing, "west", Proof(1, "east"), "r1", Now));
        Assert.Equal((EpochState.Moving, 2L, "west"), (moving.State, moving.Epoch, moving.Primary));
        Assert.Equal((1L, "east"), (moving.Former!.Epoch, moving.Former.Primary));
    }

    [Fact]
    public void Move_WithoutProof_Refused() => Refused(EpochTransitions.Move(Closing, "west", null, "r1", Now), "no proof");

    [Theory]
    [InlineData(0, "east")]
    [InlineData(1, "west")]
    public void Move_ProofOfSomethingElse_Refused(long epoch, string region) => Refused(EpochTransitions.Move(Closing, "west", Proof(epoch, region), "r1", Now), "is needed");

    [Fact]
    public void Move_Open_Refused() => Refused(EpochTransitions.Move(Open, "west", Proof(1, "east"), "r1", Now), "closed first");

    [Fact]
    public void Move_TargetWithoutCopy_Refused() => Refused(EpochTransitions.Move(Closing, "india", Proof(1, "east"), "r1", Now), "holds no copy");

    [Fact]
    public void Move_FencedPrimaryItself_IsTheTarget() => Assert.Equal("east", Allowed(EpochTransitions.Move(Closing, "east", Proof(1, "east"), "r1", Now)).Primary);

    [Fact]
    public void Move_TargetFailed_NeedsAProofOfItsOwnEpoch()
    {
        Refused(EpochTransitions.Move(Moving, "europe", Proof(1, "east"), "r1", Now), "is needed");
        Assert.Equal(3, Allowed(EpochTransitions.Move(Moving, "europe", Proof(2, "west"), "r2", Now)).Epoch);
    }

    [Fact]
    public void Move_Again_AnswersTheRecord() => Assert.Same(Moving, Allowed(EpochTransitions.Move(Moving, "west", Proof(1, "east"), "r1", Now)));

    [Fact]
    public void Open_Moving_RemembersTheFork()
    {
        var open = Allowed(EpochTransitions.Open(Moving, "r1", Lsn.Parse("0/30000A0"), 2, Now));
        Assert.Equal((EpochState.Open, 2L), (open.State, open.Epoch));
        Assert.Equal(Lsn.Parse("0/30000A0"), open.Former!.Fork);
        Assert.Same(open, Allowed(EpochTransitions.Open(open, "r1", null, null, Now)));
    }

    [Fact]
    public void Open_Closing_Refused() => Refused(EpochTransitions.Open(Closing, "r1", null, null, Now), "only a moving epoch opens");

    /// <summary>EpochMonotone and ProofBeforePromotion: whatever is asked in whatever order.</summary>
    [Fact]
    public void AnyMoves_EpochOnlyGrows_AndEveryMovingHasItsProof() =>
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, 3], Gen.Int[0, 3], Gen.Int[0, 2]).Array[0, 40].Sample(steps =>
        {
            string[] regions = ["east", "west", "europe", "india"];
            var record = Open;
            foreach (var (kind, region, proofEpoch, run) in steps)
            {
                var move = kind switch
                {
                    0 => EpochTransitions.Close(record, $"r{run}", Now),
                    1 => EpochTransitions.Reopen(record, $"r{run}", Now),
                    2 => EpochTransitions.Move(record, regions[region], proofEpoch == 3 ? null : Proof(record.Epoch - proofEpoch, record.Primary), $"r{run}", Now),
                    _ => EpochTransitions.Open(record, $"r{run}", null, null, Now),
                };
                if (move is not EpochMove.Allowed { Record: var next })
                    continue;
                if (next.Epoch < record.Epoch || next.Epoch > record.Epoch + 1)
                    return false;
                if (next.Epoch == record.Epoch && next.Primary != record.Primary)
                    return false;
                if (next.Epoch > record.Epoch && (next.State != EpochState.Moving || next.Former?.Proof is not { } proof || proof.Epoch < record.Epoch || proof.Region != record.Primary))
                    return false;
                if (record.State == EpochState.Moving && next.State == EpochState.Closing)
                    return false;
                record = next;
            }
            return true;
        });

    private static FenceProof Proof(long epoch, string region) => new() { Kind = FenceProofKind.Stopped, Epoch = epoch, Region = region, Evidence = "seen", At = Now };

    private static EpochRecord Allowed(EpochMove move) => Assert.IsType<EpochMove.Allowed>(move).Record;

    private static void Refused(EpochMove move, string why) => Assert.Contains(why, Assert.IsType<EpochMove.Refused>(move).Reason, StringComparison.Ordinal);
}
