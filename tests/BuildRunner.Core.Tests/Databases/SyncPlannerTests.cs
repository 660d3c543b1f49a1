using BuildRunner.Core.Databases;
using CsCheck;

namespace BuildRunner.Core.Tests.Databases;

public class SyncPlannerTests
{
    private const string West = "us-west-1";
    private const string Europe = "eu-west-1";
    private static readonly DateTimeOffset Now = DateTimeOffset.UnixEpoch;
    private static readonly Lsn From = new(100);

    [Theory]
    [InlineData("", 0, "")]
    [InlineData("FIRST 1 (br_gate)", 1, "br_gate")]
    [InlineData("FIRST 1 (\"us-west-1\")", 1, "us-west-1")]
    [InlineData("ANY 2 (\"a\", \"b\", \"c\")", 2, "a,b,c")]
    [InlineData("a, b", 1, "a,b")]
    [InlineData("2 (a, b)", 2, "a,b")]
    [InlineData("*", 0, "*")]
    [InlineData("ANY 3 (a, b)", 0, "a,b")]
    public void Parse_KnowsPostgreSQLsForms(string names, int required, string members)
    {
        var setting = SyncSetting.Parse(names);
        Assert.Equal((required, members), (setting.Required, string.Join(',', setting.Members)));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 2)]
    [InlineData(4, 2)]
    [InlineData(5, 3)]
    public void Quorum_WaitsForHalfRoundedUp_AndReadsBackAsWritten(int copies, int required)
    {
        var setting = SyncSetting.Quorum([.. Enumerable.Range(0, copies).Select(n => $"r{n}")]);
        Assert.Equal(required, setting.Required);
        Assert.Equal(setting.Names, SyncSetting.Parse(setting.Names).Names);
    }

    [Fact]
    public void Decide_NothingIsKnown_Stands() => Assert.IsType<SyncStep.Stand>(Decide(Facts() with { Told = null, Shown = null }));

    [Fact]
    public void Decide_CopyIsReady_WeakensTheRecordThenSetsThenClaims()
    {
        var facts = Facts() with { Lease = true, Told = SyncSetting.Gate.Names, Shown = SyncSetting.Gate.Names };
        var changing = Assert.IsType<SyncStep.WriteRecord>(Decide(facts)).Record!;
        Assert.Equal((0, SyncState.Changing), (changing.Required, changing.State)); // from here on the end of the lease proves nothing
        var setting = Assert.IsType<SyncStep.WriteSetting>(Decide(facts with { Record = changing })).Setting;
        Assert.Equal("FIRST 1 (\"us-west-1\")", setting.Names);
        facts = facts with { Record = changing, Told = setting.Names, Shown = setting.Names };
        Assert.IsType<SyncStep.Stand>(Decide(facts)); // the agent has not said so
        facts = facts with { InForce = new(setting.Names, 1, From) };
        Assert.IsType<SyncStep.Stand>(Decide(facts with { Candidates = [Copy(West, flushed: 99)] }));
        var claim = Assert.IsType<SyncStep.WriteRecord>(Decide(facts with { Candidates = [Copy(West, flushed: 100)] })).Record!;
        Assert.True(claim.Says(new SyncRecord([West], 1, SyncState.Sync, Now)));
    }

    [Theory]
    [InlineData(true, "FIRST 1 (br_gate)")]
    [InlineData(false, "")]
    public void Decide_MemberStopsStreaming_RecordGoesBeforeTheSetting(bool lease, string then)
    {
        var names = SyncSetting.First(West).Names;
        var facts = Facts() with { Lease = lease, Record = Sync(1, West), Told = names, Shown = names, InForce = new(names, 1, From), Candidates = [Copy(West) with { Streams = false }] };
        var record = Assert.IsType<SyncStep.WriteRecord>(Decide(facts)).Record!;
        Assert.False(record.Claims);
        var setting = Assert.IsType<SyncStep.WriteSetting>(Decide(facts with { Record = record })).Setting;
        Assert.Equal(then, setting.Names);
        var degraded = Assert.IsType<SyncStep.WriteRecord>(Decide(facts with { Record = record, Told = then, Shown = then, InForce = new(then, 2, From) })).Record!;
        Assert.Equal(SyncState.Degraded, degraded.State);
    }

    [Fact]
    public void Decide_AnotherCopyTakesTheMembersPlace_TheClaimWidensMeanwhile()
    {
        var names = SyncSetting.First(West).Names;
        var facts = Facts() with { Record = Sync(1, West), Told = names, Shown = names, InForce = new(names, 1, From), Candidates = [Copy(West) with { Streams = false }, Copy(Europe, preferred: false)] };
        var record = Assert.IsType<SyncStep.WriteRecord>(Decide(facts)).Record!;
        Assert.Equal((1, 2, SyncState.Changing), (record.Required, record.CutsNeeded, record.State));
        Assert.Equal([West, Europe], record.Members);
        Assert.Equal([Europe], Assert.IsType<SyncStep.WriteSetting>(Decide(facts with { Record = record })).Setting.Members);
    }

    [Fact]
    public void Decide_One_PrefersTheStandbyToTheReplica() =>
        Assert.Equal([West], Assert.IsType<SyncStep.WriteSetting>(Decide(Facts() with { Record = Changing, Candidates = [Copy(Europe, preferred: false), Copy(West)] })).Setting.Members);

    [Fact]
    public void Decide_CopyThatIsFarBehind_IsNotWaitedFor() =>
        Assert.Equal("", Assert.IsType<SyncStep.WriteSetting>(Decide(Facts() with { Told = null, Record = Changing, Candidates = [Copy(West) with { Ready = false }] })).Setting.Names);

    [Fact]
    public void Decide_SomebodyChangedTheSetting_TheClaimIsTakenBack()
    {
        var names = SyncSetting.First(West).Names;
        Assert.False(Assert.IsType<SyncStep.WriteRecord>(Decide(Facts() with { Record = Sync(1, West), Told = names, Shown = "" })).Record!.Claims);
    }

    [Fact]
    public void Decide_PolicyWantsNone_EndsWithoutARecord()
    {
        var facts = Facts() with { Wish = SyncWish.None, Record = Changing, Told = "", Shown = "", InForce = new("", 3, From) };
        Assert.Null(Assert.IsType<SyncStep.WriteRecord>(Decide(facts)).Record);
        Assert.IsType<SyncStep.Stand>(Decide(facts with { Record = null }));
    }

    /// <summary>SyncRecordCovers and NoLostAck: whatever is late, lost or doubled, the record never claims more than the copies hold.</summary>
    [Fact]
    public void Record_WhateverHappens_NeverClaimsMoreThanTheCopiesHold() => Schedules.Sample(schedule => new SyncModel(schedule.Wish, schedule.Lease).Run(schedule.Steps) is null, iter: 20_000);

    [Fact]
    public void Record_WhenAllIsWell_ClaimsWhatThePolicyWants() => Schedules.Sample(schedule =>
    {
        var model = new SyncModel(schedule.Wish, schedule.Lease);
        return model.Run(schedule.Steps) is null && model.Settles();
    }, iter: 5_000);

    /// <summary>The checks bite: with the order of the record turned round, or without the wait for the agent's word, some schedule breaks the claim.</summary>
    [Theory]
    [InlineData(SyncModel.Fault.SettingFirst)]
    [InlineData(SyncModel.Fault.NoWait)]
    [InlineData(SyncModel.Fault.OldWord)]
    public void Record_WithTheOrderTakenOut_ClaimsTooMuch(SyncModel.Fault fault)
    {
        var seed = new Random(20261127);
        var broken = Enumerable.Range(0, 20_000).Any(n => new SyncModel((SyncWish)(1 + (n % 2)), n % 3 == 0, fault).Run([.. Enumerable.Range(0, 120).Select(_ => seed.Next())]) is not null);
        Assert.True(broken, $"{fault}: no schedule broke the claim");
    }

    private static readonly Gen<(SyncWish Wish, bool Lease, int[] Steps)> Schedules = Gen.Select(Gen.Int[1, 2].Select(n => (SyncWish)n), Gen.Bool, Gen.Int[0, int.MaxValue - 1].Array[0, 150]);

    private static SyncRecord Changing => new([], 0, SyncState.Changing, Now);

    private static SyncStep Decide(SyncFacts facts) => SyncPlanner.Decide(facts, Now);

    private static SyncRecord Sync(int required, params string[] members) => new(members, required, SyncState.Sync, Now);

    private static SyncCandidate Copy(string region, bool preferred = true, ulong flushed = 1000) => new(region, preferred, true, true, new Lsn(flushed));

    private static SyncFacts Facts() => new() { Wish = SyncWish.One, Lease = false, Record = null, Told = "", Shown = "", InForce = null, Candidates = [Copy(West)] };
}
