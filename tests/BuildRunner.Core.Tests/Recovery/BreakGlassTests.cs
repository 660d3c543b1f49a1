using BuildRunner.Core.Databases;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using CsCheck;

namespace BuildRunner.Core.Tests.Recovery;

public class BreakGlassTests
{
    private const string East = "us-east-1";
    private const string West = "us-west-1";
    private const string Europe = "eu-west-1";
    private static readonly DateTimeOffset Now = new(2026, 11, 27, 3, 0, 0, TimeSpan.Zero);
    private static readonly BreakGlassWish Wish = new(West, AssumeFenced: "the building is dark", AcceptDataLoss: true, PowerReady: false);

    private static EpochRecord Record(long epoch = 1, string primary = East, EpochState state = EpochState.Open) => new()
    {
        Database = "main", Epoch = epoch, Lineage = "l", State = state, Primary = primary, Candidates = [East, West, Europe], At = Now.AddHours(-1),
        Former = state == EpochState.Moving ? new(epoch - 1, East, new FenceProof { Kind = FenceProofKind.Stopped, Epoch = epoch - 1, Region = East, Evidence = "e", At = Now }, null, null) : null,
    };

    private static SavedHost Host(string region, EpochRecord? record = null, long seen = 1) => new()
    {
        Region = region, Record = record ?? Record(), Version = 7, SeenEpoch = seen, SeenToken = 4, Lineage = "l", ServerSilence = TimeSpan.FromMinutes(2),
        Reading = new DatabaseReading { Database = "main", State = DatabaseState.Standby, MarkerEpoch = 1, Guarded = true },
    };

    private static SavedHost Gone(string region) => new() { Region = region, Silent = "no route to it" };

    [Fact]
    public void Decide_PrimaryGoneAndVouchedFor_BeginsAtTheSavedEpoch()
    {
        var plan = BreakGlass.Decide([Gone(East), Host(West), Host(Europe)], Wish, Now);
        Assert.Empty(plan.Problems);
        Assert.Equal((1L, EpochState.Open, East, 4L), (plan.Record!.Epoch, plan.Record.State, plan.Record.Primary, plan.Token));
        Assert.Contains(plan.Unknown, u => u.Contains(East, StringComparison.Ordinal));
    }

    [Fact]
    public void Decide_NothingProvesThePrimarySilent_IsRefused()
    {
        var plan = BreakGlass.Decide([Gone(East), Host(West), Host(Europe)], Wish with { AssumeFenced = null }, Now);
        Assert.Contains(plan.Problems, p => p.Contains("--assume-fenced", StringComparison.Ordinal));
    }

    [Fact]
    public void Decide_APowerDriverOrTheGuardProvesIt_NeedsNoWord()
    {
        Assert.Empty(BreakGlass.Decide([Gone(East), Host(West), Host(Europe)], Wish with { AssumeFenced = null, PowerReady = true }, Now).Problems);
        var alive = Host(East) with { Reading = new DatabaseReading { Database = "main", State = DatabaseState.Primary, Guarded = true, Written = new Lsn(100) } };
        Assert.Empty(BreakGlass.Decide([alive, Host(West), Host(Europe)], Wish with { AssumeFenced = null, AcceptDataLoss = false }, Now).Problems);
    }

    [Fact]
    public void Decide_LossUnknown_IsRefusedUnlessAccepted() =>
        Assert.Contains(BreakGlass.Decide([Gone(East), Host(West), Host(Europe)], Wish with { AcceptDataLoss = false }, Now).Problems, p => p.Contains("--accept-data-loss", StringComparison.Ordinal));

    /// <summary>The server may have made it primary in its last moments, and nobody else need know.</summary>
    [Fact]
    public void Decide_AnotherCopyIsSilent_HasToBeVouchedForAlsoWithAPowerDriver()
    {
        IReadOnlyList<SavedHost> hosts = [Gone(East), Host(West), Gone(Europe)];
        Assert.Contains(BreakGlass.Decide(hosts, Wish with { AssumeFenced = null, PowerReady = true }, Now).Problems, p => p.Contains(Europe, StringComparison.Ordinal));
        Assert.Empty(BreakGlass.Decide(hosts, Wish, Now).Problems);
    }

    [Theory]
    [InlineData(2999, true)]
    [InlineData(3000, false)]
    public void Decide_AHostHeardTheServerJustNow_IsRefusedAndMayBeAskedAgain(int silenceMs, bool tooSoon)
    {
        var plan = BreakGlass.Decide([Gone(East), Host(West) with { ServerSilence = TimeSpan.FromMilliseconds(silenceMs) }, Host(Europe)], Wish, Now);
        Assert.Equal((tooSoon, tooSoon), (plan.Problems.Count > 0, plan.OnlyTooSoon));
    }

    [Fact]
    public void Decide_ServerAliveAndMoreStandsAgainstIt_IsNotOnlyTooSoon() =>
        Assert.False(BreakGlass.Decide([Gone(East), Host(West) with { ServerSilence = TimeSpan.Zero }, Host(Europe)], Wish with { AssumeFenced = null }, Now).OnlyTooSoon);

    [Fact]
    public void Decide_TargetPromisedInFailsafe_IsWaitedFor()
    {
        var plan = BreakGlass.Decide([Gone(East), Host(West) with { Promised = TimeSpan.FromSeconds(4) }, Host(Europe)], Wish, Now);
        Assert.True(plan.OnlyTooSoon);
        Assert.Empty(BreakGlass.Decide([Gone(East), Host(West) with { Promised = TimeSpan.FromSeconds(4) }, Host(Europe)], Wish with { PowerReady = true }, Now).Problems);
    }

    [Fact]
    public void Decide_HostsOfTwoHouses_IsRefused() =>
        Assert.Null(BreakGlass.Decide([Host(West), Host(Europe) with { Lineage = "another" }], Wish, Now).Record);

    [Fact]
    public void Decide_ARunHadClosedTheEpoch_ItIsThePrimarysAgain() =>
        Assert.Equal(EpochState.Open, BreakGlass.Decide([Gone(East), Host(West, Record(state: EpochState.Closing)), Host(Europe)], Wish, Now).Record!.State);

    [Fact]
    public void Decide_ARunWasMovingTheEpoch_ItGoesOnOrTheTargetIsProvenSilent()
    {
        var moving = Host(West, Record(2, West, EpochState.Moving), seen: 2);
        var goesOn = BreakGlass.Decide([Gone(East), moving, Host(Europe)], Wish with { AssumeFenced = null }, Now);
        Assert.Empty(goesOn.Problems);
        Assert.Equal((EpochState.Moving, West), (goesOn.Record!.State, goesOn.Record.Primary));
        Assert.NotEmpty(BreakGlass.Decide([Gone(East), Gone(West), Host(Europe, Record(2, West, EpochState.Moving))], Wish with { Target = Europe, AssumeFenced = null }, Now).Problems);
    }

    /// <summary>The promote order reached its host, and the record that stands before it reached nobody's disk.</summary>
    [Fact]
    public void Decide_AnEpochThatNoTableDescribes_BelongsToWhomWasPromoted()
    {
        var plan = BreakGlass.Decide([Gone(East), Host(West, seen: 2) with { Promoting = 2 }, Host(Europe)], Wish with { AssumeFenced = null }, Now);
        Assert.Equal((2L, EpochState.Moving, West, 1L), (plan.Record!.Epoch, plan.Record.State, plan.Record.Primary, plan.Record.Former!.Epoch));
        Assert.NotNull(plan.Record.Former.Proof);
    }

    /// <summary>A run that was cut off was judged when it began; only a living server stands in its way.</summary>
    [Fact]
    public void Decide_ARunGoesOn_IsNotJudgedByItsOwnEffects()
    {
        var promoted = Host(West, Record(2, West), seen: 2);
        Assert.NotEmpty(BreakGlass.Decide([Gone(East), promoted, Gone(Europe)], Wish with { AssumeFenced = null, AcceptDataLoss = false }, Now).Problems);
        Assert.Empty(BreakGlass.Decide([Gone(East), promoted, Gone(Europe)], Wish with { AssumeFenced = null, AcceptDataLoss = false, Resumes = true }, Now).Problems);
        Assert.NotEmpty(BreakGlass.Decide([Gone(East), promoted with { ServerSilence = TimeSpan.Zero }, Gone(Europe)], Wish with { Resumes = true }, Now).Problems);
    }

    [Fact]
    public void Decide_AnEpochThatNobodyHolds_IsRefused() =>
        Assert.Null(BreakGlass.Decide([Gone(East), Host(West), Host(Europe, seen: 2)], Wish, Now).Record);

    /// <summary>A copy that was cut off is not told that it is waited for no more.</summary>
    [Fact]
    public void Decide_SavedClaimOfCopies_IsShownAndNotBuiltOn()
    {
        var claim = Record() with { Sync = new SyncRecord([West], 1, SyncState.Sync, Now) };
        var plan = BreakGlass.Decide([Gone(East), Host(West, claim), Host(Europe)], Wish with { AssumeFenced = null }, Now);
        Assert.Null(plan.Record!.Sync);
        Assert.Contains(plan.Known, k => k.Contains("nothing is built on it", StringComparison.Ordinal));
        Assert.NotEmpty(plan.Problems);
    }

    /// <summary>Whatever the hosts say: what may begin is at an epoch as high as any of them obeyed, one house's, after the server, and everybody else is vouched for.</summary>
    [Fact]
    public void Decide_AnyHosts_BeginsOnlyWhereNothingNewerCanBe()
    {
        string[] regions = [East, West, Europe];
        var genRecord = Gen.Select(Gen.Int[1, 4], Gen.Int[0, 2], Gen.Enum<EpochState>(), (epoch, primary, state) => Record(epoch, regions[primary], state));
        var genHost = Gen.Select(genRecord, Gen.Bool, Gen.Int[1, 5], Gen.Int[0, 5000], Gen.Int[0, 5].Nullable(), (record, silent, seen, silence, promoting) => (record, silent, seen, silence, promoting));
        Gen.Select(genHost.Array[3], Gen.Int[0, 2], Gen.Bool, Gen.Bool, Gen.Bool).Sample((given, target, vouched, accepted, power) =>
        {
            var hosts = given.Select((g, i) => g.silent ? Gone(regions[i]) : Host(regions[i], g.record, g.seen) with
            {
                ServerSilence = TimeSpan.FromMilliseconds(g.silence), Promoting = g.promoting,
            }).ToList();
            var wish = new BreakGlassWish(regions[target], vouched ? "it is off" : null, accepted, power);
            var plan = BreakGlass.Decide(hosts, wish, Now);
            if (plan.Problems.Count > 0)
                return;
            var heard = hosts.Where(h => h.Silent is null).ToList();
            Assert.NotNull(plan.Record);
            Assert.True(heard.All(h => plan.Record.Epoch >= h.SeenEpoch && plan.Record.Epoch >= (h.Promoting ?? 0) && plan.Record.Epoch >= h.Record!.Epoch));
            Assert.True(heard.All(h => h.ServerSilence >= BreakGlass.ServerAliveMax));
            Assert.Contains(heard, h => h.Region == wish.Target);
            Assert.True(plan.Record.State != EpochState.Closing && plan.Record.Sync is null);
            Assert.True(vouched || plan.Record.Candidates.All(c => c == wish.Target || c == plan.Record.Primary || (plan.Record.State == EpochState.Moving && c == plan.Record.Former!.Primary) || heard.Exists(h => h.Region == c)));
            Assert.True(vouched || power || plan.Record.Primary == wish.Target || heard.Exists(h => h.Region == plan.Record.Primary));
        }, iter: 20_000);
    }

    [Fact]
    public void Write_FourRegions_IsOnePageWithCommandsAndNoKey()
    {
        var page = SheetText.Write(new SheetFacts
        {
            At = Now, Version = "1.0.0", Server = "http://127.0.0.1:8400", Database = "main", Primary = East, Epoch = 3, Name = "shop.example.com",
            Rules = new Core.Policy.RecoveryRules { Contacts = ["Ada, on call: +1 555 0100", "Grace: +1 555 0101"], KeyKept = "Safe in room 12" },
            Regions =
            [
                new(East, RegionRole.Primary, "http://127.0.1.1:8080", "127.0.1.1:5433", "127.0.1.1:5434"), new(West, RegionRole.Standby, "http://127.0.2.1:8080", "127.0.2.1:5433", "127.0.2.1:5434"),
                new(Europe, RegionRole.Replica, "http://127.0.3.1:8080", "127.0.3.1:5433", "127.0.3.1:5434"), new("ap-south-1", RegionRole.Edge, "http://127.0.4.1:8080", null, null),
            ],
            KeyFingerprint = "00112233", PolicyHash = new string('a', 64), RunbookHash = "b0b0",
        });
        var lines = page.Split('\n');
        Assert.True(lines.Length < SheetText.LinesMax, $"{lines.Length} lines");
        Assert.All(lines, l => Assert.True(l.Length <= SheetText.ColumnsMax, l));
        foreach (var part in new[] { "Ada, on call", "br dr failover --target us-west-1 --reason", "br dr failover --without-server --target eu-west-1 --key FILE --agent 127.0.3.1:5434", "br server adopt FOLDER", "Safe in room 12", "00112233" })
            Assert.Contains(part, page, StringComparison.Ordinal);
        Assert.DoesNotContain($"--target {East}", page, StringComparison.Ordinal);
    }
}
