using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Databases;

public class LeaseTests
{
    private static readonly LeaseTerms Terms = new(TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(8));
    private static readonly EpochRecord Open = EpochTransitions.First("main", "east", ["east", "west"], default);
    private static readonly LeaseBook Old = LeaseArbiter.Begin("a", Terms.Ttl, S(-1000));

    [Fact]
    public void Silence_NobodyAsksForATtl_IsToldUntilSomebodyDoes()
    {
        var terms = new LeaseTerms(TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(8));
        var record = EpochTransitions.First("main", "east", ["east", "west"], default) with { Epoch = 3 };
        var ask = new LeaseAsk { Database = "main", Epoch = 3, Region = "east", Ttl = terms.Ttl };
        var (book, _) = LeaseArbiter.Renew(LeaseArbiter.Begin("a", terms.Ttl, TimeSpan.Zero), record, ask, terms, TimeSpan.FromSeconds(5));
        Assert.Null(LeaseArbiter.Silence(book, record, terms, TimeSpan.FromSeconds(14.9)));
        Assert.Equal(TimeSpan.FromSeconds(10), LeaseArbiter.Silence(book, record, terms, TimeSpan.FromSeconds(15)));
        Assert.Null(LeaseArbiter.Silence(book, record with { Epoch = 4 }, terms, TimeSpan.FromSeconds(15))); // nothing is known of that one
        Assert.Null(LeaseArbiter.Silence(LeaseArbiter.Awake(book, terms, TimeSpan.FromSeconds(15)), record, terms, TimeSpan.FromSeconds(15))); // the arbiter itself stood still
        (book, _) = LeaseArbiter.Renew(LeaseArbiter.Withhold(book, 3), record, ask, terms, TimeSpan.FromSeconds(16));
        Assert.Null(LeaseArbiter.Silence(book, record, terms, TimeSpan.FromSeconds(17)));
    }

    [Fact]
    public void Renew_Holder_IsGranted()
    {
        var (book, answer) = LeaseArbiter.Renew(Old, Open, Ask(), Terms, S(1));
        Assert.True(answer.Granted);
        Assert.Equal(S(11), book.EndsAt);
    }

    [Theory]
    [InlineData(1, "west")]
    [InlineData(0, "east")]
    public void Renew_OfAnothersEpoch_IsRefused(long epoch, string region) =>
        Assert.True(LeaseArbiter.Renew(Old, Open, Ask() with { Epoch = epoch, Region = region }, Terms, S(1)).Answer.Refused);

    [Fact]
    public void Renew_AboveTheRecord_IsNotNow()
    {
        var answer = LeaseArbiter.Renew(Old, Open, Ask() with { Epoch = 2 }, Terms, S(1)).Answer;
        Assert.False(answer.Granted || answer.Refused);
    }

    [Fact]
    public void Renew_AnswersLost_ExtendsNothingAfterOneTtl_AndGrantsAgainWhenOneArrives()
    {
        var book = Old;
        LeaseAnswer answer = null!;
        for (var second = 0; second <= 10; second++)
            (book, answer) = LeaseArbiter.Renew(book, Open, Ask("lost"), Terms, S(second));
        Assert.False(answer.Granted);
        Assert.Equal(S(19), book.EndsAt); // of the last grant, at 9 s
        (book, answer) = LeaseArbiter.Renew(book, Open, Ask(answer.Id), Terms, S(11));
        Assert.True(answer.Granted);
    }

    [Fact]
    public void Renew_Confirmed_GoesOnForEver()
    {
        var (book, answer) = LeaseArbiter.Renew(Old, Open, Ask(), Terms, S(0));
        for (var second = 1; second < 100; second++)
        {
            (book, answer) = LeaseArbiter.Renew(book, Open, Ask(answer.Id), Terms, S(second));
            Assert.True(answer.Granted);
        }
    }

    [Fact]
    public void End_NotWithheld_NeverRunsOut() =>
        Assert.IsType<LeaseEnd.Runs>(LeaseArbiter.End(LeaseArbiter.Renew(Old, Open, Ask(), Terms, S(0)).Book, Open, Terms, S(1000)));

    [Fact]
    public void End_Withheld_RunsOutOneTtlAfterTheLastGrant()
    {
        var book = LeaseArbiter.Withhold(LeaseArbiter.Renew(Old, Open, Ask(), Terms, S(3)).Book, 1);
        Assert.Equal(S(13), Assert.IsType<LeaseEnd.Runs>(LeaseArbiter.End(book, Open, Terms, S(12.9))).Until);
        Assert.IsType<LeaseEnd.RunOut>(LeaseArbiter.End(book, Open, Terms, S(13)));
        var answer = LeaseArbiter.Renew(book, Open, Ask(), Terms, S(4)).Answer;
        Assert.False(answer.Granted || answer.Refused); // the run may yet give it back
    }

    [Fact]
    public void End_SaysHowLongItsHolderHasBeenSilent()
    {
        var book = LeaseArbiter.Withhold(LeaseArbiter.Renew(Old, Open, Ask(), Terms, S(3)).Book, 1);
        Assert.Equal(S(4), Assert.IsType<LeaseEnd.RunOut>(LeaseArbiter.End(book, Open, Terms, S(15))).Since); // its deadline was at 11 s
    }

    [Fact]
    public void Renew_HolderThatKnowsALongerTtl_IsCountedByIt()
    {
        var (book, _) = LeaseArbiter.Renew(Old, Open, Ask() with { Ttl = S(60) }, Terms, S(0));
        Assert.Equal(S(60), book.EndsAt);
    }

    [Fact]
    public void Renew_OlderRecordThanTheBook_ChangesNothing()
    {
        var (book, _) = LeaseArbiter.Renew(Old, Open with { Epoch = 2, Primary = "west" }, Ask() with { Epoch = 2, Region = "west" }, Terms, S(0));
        var (after, answer) = LeaseArbiter.Renew(book, Open, Ask(), Terms, S(1));
        Assert.False(answer.Granted || answer.Refused);
        Assert.Equal((2, book.EndsAt), (after.Epoch, after.EndsAt));
    }

    [Fact]
    public void Promise_PrimaryThatKnowsALongerTtl_IsCountedByIt()
    {
        var (book, _) = Promises.Give(Promises.Begin(TimeSpan.Zero, S(0)), new PromiseAsk { Database = "main", Epoch = 1, Region = "east", Ttl = S(60) }, 1, null, null, Terms.Ttl, S(5));
        Assert.Equal(S(60), Promises.Left(book, S(5)));
    }

    [Fact]
    public void End_NewArbiter_ExpiresNothingForOneTtl()
    {
        var book = LeaseArbiter.Withhold(LeaseArbiter.Begin("b", Terms.Ttl, S(100)), 1);
        Assert.IsType<LeaseEnd.Runs>(LeaseArbiter.End(book, Open, Terms, S(109)));
        Assert.IsType<LeaseEnd.RunOut>(LeaseArbiter.End(book, Open, Terms, S(110)));
    }

    [Fact]
    public void Awake_AfterAStall_WaitingRenewalsComeFirst()
    {
        var book = LeaseArbiter.Awake(LeaseArbiter.Withhold(LeaseArbiter.Renew(Old, Open, Ask(), Terms, S(0)).Book, 1), Terms, S(50));
        Assert.IsType<LeaseEnd.Runs>(LeaseArbiter.End(book, Open, Terms, S(51.9)));
    }

    [Fact]
    public void NewEpoch_BeginsANewLease()
    {
        var book = LeaseArbiter.Withhold(LeaseArbiter.Renew(Old, Open, Ask(), Terms, S(0)).Book, 1);
        var next = Open with { Epoch = 2, Primary = "west" };
        Assert.True(LeaseArbiter.Renew(book, next, Ask() with { Epoch = 2, Region = "west" }, Terms, S(1)).Answer.Granted);
    }

    [Fact]
    public void Candidates_EveryOneMustPromise()
    {
        Assert.IsType<LeaseStep.Extend>(LeaseHolder.OfCandidates(Terms, new Dictionary<string, PromiseAnswer?> { ["west"] = new() { Given = true }, ["europe"] = new() { Given = true } }, S(1)));
        Assert.IsType<LeaseStep.Stand>(LeaseHolder.OfCandidates(Terms, new Dictionary<string, PromiseAnswer?> { ["west"] = new() { Given = true }, ["europe"] = null }, S(1)));
        Assert.IsType<LeaseStep.Stand>(LeaseHolder.OfCandidates(Terms, new Dictionary<string, PromiseAnswer?> { ["west"] = new() { Given = false } }, S(1)));
    }

    [Theory]
    [InlineData(1, null, null, true)]
    [InlineData(2, null, null, false)]
    [InlineData(1, 1L, null, false)]
    [InlineData(1, 0L, null, true)]
    [InlineData(1, null, 2L, false)]
    public void Promise_IsGivenByAStandbyThatRefusedNothing(long seen, long? refused, long? own, bool given)
    {
        var (book, answer) = Promises.Give(Promises.Begin(TimeSpan.Zero, S(0)), new PromiseAsk { Database = "main", Epoch = 1, Region = "east" }, seen, refused, own, Terms.Ttl, S(5));
        Assert.Equal(given, answer.Given);
        Assert.Equal(given ? S(10) : TimeSpan.Zero, Promises.Left(book, S(5)));
    }

    [Fact]
    public void Record_KeepsTheLongestTtlAndTheEnforcementOfItsEpoch()
    {
        var first = LeaseRecord.For(null, "main", 1, enforced: true, S(20));
        var second = LeaseRecord.For(first, "main", 1, enforced: false, S(10));
        Assert.Equal((true, S(20)), (second.Enforced, second.Ttl));
        Assert.Equal("run", LeaseRecord.For(second with { WithheldBy = "run" }, "main", 1, enforced: true, S(10)).WithheldBy);
        Assert.Null(LeaseRecord.For(second with { WithheldBy = "run" }, "main", 2, enforced: true, S(10)).WithheldBy);
        Assert.Equal((false, S(10)), (LeaseRecord.For(second, "main", 2, enforced: false, S(10)).Enforced, LeaseRecord.For(second, "main", 2, enforced: false, S(10)).Ttl));
    }

    private static LeaseAsk Ask(string? received = null) => new() { Database = "main", Epoch = 1, Region = "east", Received = received };

    private static TimeSpan S(double seconds) => TimeSpan.FromSeconds(seconds);
}
