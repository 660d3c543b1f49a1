using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using CsCheck;

namespace BuildRunner.Core.Tests.Recovery;

public class ReadinessTests
{
    private const string East = "us-east-1";
    private const string West = "us-west-1";
    private const string Europe = "eu-west-1";
    private static readonly DateTimeOffset Noon = new(2026, 11, 27, 12, 0, 0, TimeSpan.Zero);
    private static readonly EpochRecord Record = EpochTransitions.First("main", East, [East, West, Europe], Noon);

    [Fact]
    public void Decide_EverythingWell_IsReady()
    {
        var readiness = Readiness.Decide(Well());
        Assert.Empty(readiness.Findings);
        Assert.Equal(ReadinessVerdict.Ready, readiness.Verdict);
    }

    [Fact]
    public void Decide_NoBackupAndNoDrillRecorded_IsNeverGreen()
    {
        var readiness = Readiness.Decide(Well() with { Sources = [] });
        Assert.Equal(ReadinessVerdict.ReadyWithWarnings, readiness.Verdict);
        Assert.Equal(["backup.unknown", "drill.unknown"], readiness.Findings.Select(f => f.Code));
        Assert.All(readiness.Findings, f => Assert.StartsWith("unknown: ", f.Reason, StringComparison.Ordinal));
    }

    /// <summary>Each fault, the finding that names it, how bad it is, and whose it is.</summary>
    public static TheoryData<string, string, ReadinessSeverity, string?> Faults() => new()
    {
        { "agent of the primary gone", "agent.unreachable", ReadinessSeverity.Red, East },
        { "agent of the standby gone", "agent.unreachable", ReadinessSeverity.Red, West },
        { "agent of a replica gone", "agent.unreachable", ReadinessSeverity.Warning, Europe },
        { "guard of the primary silent", "guard.silent", ReadinessSeverity.Red, East },
        { "standby fenced", "copy.not_well", ReadinessSeverity.Red, West },
        { "standby cut off", "copy.not_streaming", ReadinessSeverity.Red, West },
        { "lag over loss_max", "lag.high", ReadinessSeverity.Red, West },
        { "lag unknown", "lag.unknown", ReadinessSeverity.Red, West },
        { "a role commits off, asynchronous", "commit.loose", ReadinessSeverity.Warning, East },
        { "a role commits off, synchronous", "commit.loose", ReadinessSeverity.Red, East },
        { "a role commits local, with a lease", "commit.loose", ReadinessSeverity.Red, East },
        { "neither checksums nor hints", "rewind.impossible", ReadinessSeverity.Red, East },
        { "full_page_writes off", "rewind.impossible", ReadinessSeverity.Red, East },
        { "WAL gone", "wal.gone", ReadinessSeverity.Red, West },
        { "right missing", "rights.missing", ReadinessSeverity.Red, East },
        { "settings unread", "settings.unread", ReadinessSeverity.Unknown, East },
        { "DNS write fails", "dns.not_writable", ReadinessSeverity.Red, null },
        { "DNS answers wrong", "dns.not_settled", ReadinessSeverity.Red, null },
        { "no DNS", "dns.none", ReadinessSeverity.Warning, null },
        { "capacity missing", "capacity.missing", ReadinessSeverity.Red, East },
        { "capacity unknown", "capacity.unknown", ReadinessSeverity.Warning, null },
        { "traffic unknown", "capacity.unknown", ReadinessSeverity.Warning, null },
        { "two observers, automatic", "observers.few", ReadinessSeverity.Red, null },
        { "two observers, by hand", "observers.few", ReadinessSeverity.Warning, null },
        { "only one observer outside, automatic", "observers.few", ReadinessSeverity.Red, null },
        { "server in the primary's region, automatic", "server.in_primary_region", ReadinessSeverity.Red, East },
        { "server in the primary's region, by hand", "server.in_primary_region", ReadinessSeverity.Warning, East },
        { "one server", "server.single", ReadinessSeverity.Warning, null },
        { "runbook bad", "runbook.bad", ReadinessSeverity.Red, null },
        { "failover refused", "runbook.refused", ReadinessSeverity.Red, null },
        { "switchover refused", "runbook.refused", ReadinessSeverity.Warning, null },
        { "runbook not reviewed", "runbook.warning", ReadinessSeverity.Warning, null },
        { "no proof without a person", "proof.person", ReadinessSeverity.Warning, East },
        { "no lease is enforced", "lease.not_enforced", ReadinessSeverity.Red, East },
        { "the lease is carried by failsafe", "lease.failsafe", ReadinessSeverity.Warning, East },
        { "a run moves the database", "database.moving", ReadinessSeverity.Unknown, null },
        { "no epoch", "database.no_epoch", ReadinessSeverity.Unknown, null },
        { "no copy", "copy.none", ReadinessSeverity.Red, null },
        { "mode observe", "mode.observe", ReadinessSeverity.Warning, null },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void Decide_PlantedFault_IsNamed(string fault, string code, ReadinessSeverity severity, string? region)
    {
        var readiness = Readiness.Decide(Plant(fault));
        var found = readiness.Findings.FirstOrDefault(f => f.Code == code);
        Assert.True(found is not null, string.Join('\n', readiness.Findings));
        Assert.Equal(severity, found.Severity);
        Assert.Equal(region, found.Region);
        Assert.True(found.Reason.Length > 20 && found.Remedy.Length > 10, found.ToString());
        Assert.Equal(severity switch { ReadinessSeverity.Red => ReadinessVerdict.NotReady, ReadinessSeverity.Unknown => ReadinessVerdict.Unknown, _ => ReadinessVerdict.ReadyWithWarnings }, readiness.Verdict);
    }

    [Fact]
    public void Decide_AnyTwoFaults_AreBothNamedAndTheWorseDecides()
    {
        var names = Faults().Select(f => (Name: f.Data.Item1, Code: f.Data.Item2)).ToList();
        // Those that hide others: nothing is judged of a database that moves, was never open, or has no agent to ask.
        var plain = names.Where(n => n.Code is "runbook.bad" or "runbook.warning" or "dns.not_settled" or "server.single" or "rights.missing" or "lag.high" or "mode.observe").ToList();
        Gen.Int[0, plain.Count - 1].Select(Gen.Int[0, plain.Count - 1]).Sample((a, b) =>
        {
            var both = Readiness.Decide(Plant(plain[a].Name, Plant(plain[b].Name)));
            var (one, other) = (Readiness.Decide(Plant(plain[a].Name)), Readiness.Decide(Plant(plain[b].Name)));
            return both.Findings.Any(f => f.Code == plain[a].Code) && (both.Findings.Any(f => f.Code == plain[b].Code) || plain[b].Code.StartsWith("dns", StringComparison.Ordinal))
                && both.Findings.Max(f => f.Severity) >= one.Findings.Max(f => f.Severity) && both.Findings[0].Severity == both.Findings.Max(f => f.Severity)
                && (plain[b].Code.StartsWith("dns", StringComparison.Ordinal) || both.Findings.Max(f => f.Severity) >= other.Findings.Max(f => f.Severity));
        }, iter: 200);
    }

    [Theory]
    [InlineData(ReadinessVerdict.Ready, 299, false)]
    [InlineData(ReadinessVerdict.Ready, 300, true)]
    [InlineData(ReadinessVerdict.ReadyWithWarnings, 299, false)]
    [InlineData(ReadinessVerdict.NotReady, 29, false)]
    [InlineData(ReadinessVerdict.NotReady, 30, true)]
    [InlineData(ReadinessVerdict.Unknown, 30, true)]
    public void IsDue_ByAgeAndVerdict(ReadinessVerdict last, int seconds, bool due)
    {
        Assert.Equal(due, Readiness.IsDue(last, Noon.AddSeconds(-seconds), false, Noon));
        Assert.True(Readiness.IsDue(last, Noon.AddSeconds(-seconds), true, Noon)); // something was saved
        Assert.True(Readiness.IsDue(null, null, false, Noon));
    }

    [Fact]
    public void Alert_RedThatLasts_IsRaisedAndClearedWhenWell()
    {
        var before = Readiness.Decide(Plant("failover refused"));
        var first = before with { Findings = Readiness.Dated(before.Findings, [], Noon) };
        Assert.Equal(new ReadinessAlert(null, null), ReadinessAlert.Decide(first, false, Noon));
        var second = before with { Findings = Readiness.Dated(before.Findings, first.Findings, Noon.AddSeconds(61)) };
        var raised = ReadinessAlert.Decide(second, false, Noon.AddSeconds(61)).Raise!;
        Assert.Equal("Recovery would fail tonight: failover", raised.Title);
        Assert.Contains("the reason", raised.Details, StringComparison.Ordinal);
        Assert.Null(ReadinessAlert.Decide(second, primaryLost: true, Noon.AddSeconds(61)).Raise);
        Assert.NotNull(ReadinessAlert.Decide(Readiness.Decide(Well()), false, Noon.AddSeconds(90)).Clear);
    }

    [Fact]
    public void Alert_NewRedEachTime_IsNoNews()
    {
        var one = Readiness.Decide(Plant("failover refused"));
        var other = Readiness.Decide(Plant("DNS write fails"));
        var later = other with { Findings = Readiness.Dated(other.Findings, Readiness.Dated(one.Findings, [], Noon), Noon.AddMinutes(5)) };
        Assert.Null(ReadinessAlert.Decide(later, false, Noon.AddMinutes(5)).Raise);
    }

    private static ReadinessReading Plant(string fault, ReadinessReading? on = null)
    {
        var well = on ?? Well();
        return fault switch
        {
            "agent of the primary gone" => Region(well, East, r => r with { AgentReachable = false }),
            "agent of the standby gone" => Region(well, West, r => r with { AgentReachable = false }),
            "agent of a replica gone" => Region(well, Europe, r => r with { AgentReachable = false }),
            "guard of the primary silent" => Read(well, East, r => r with { Guarded = false, State = DatabaseState.Unknown }),
            "standby fenced" => Read(well, West, r => r with { State = DatabaseState.Fenced, AcceptsConnections = false }),
            "standby cut off" => Read(well, West, r => r with { Streaming = false }),
            "lag over loss_max" => Region(Rules(well, r => r with { LossMax = TimeSpan.FromSeconds(5) }), West, r => r with { KnownLag = TimeSpan.FromSeconds(6) }),
            "lag unknown" => Region(well, West, r => r with { KnownLag = null }),
            "a role commits off, asynchronous" => Loose(well, "off"),
            "a role commits off, synchronous" => Loose(Rules(well, r => r with { Replication = ReplicationMode.Synchronous }), "off"),
            "a role commits local, with a lease" => Loose(Rules(well, r => r with { AutoFailover = true, Fencing = FencingMode.Lease }), "local"),
            "neither checksums nor hints" => Settings(well, East, s => s with { DataChecksums = false }),
            "full_page_writes off" => Settings(well, East, s => s with { FullPageWrites = false }),
            "WAL gone" => Settings(well, East, s => s with { OldestWal = new Lsn(2000) }),
            "right missing" => Settings(well, East, s => s with { MissingRights = ["the role br_replication may not replicate"] }),
            "settings unread" => Read(well, East, r => r with { Settings = null }),
            "DNS write fails" => well with { Dns = well.Dns! with { WriteError = "permission denied" } },
            "DNS answers wrong" => well with { Dns = well.Dns! with { Settled = false, Said = "ns1 answers nothing" } },
            "no DNS" => well with { Dns = null },
            "capacity missing" => well with { Regions = [.. well.Regions.Select(r => r with { Capacity = 20 })] },
            "capacity unknown" => well with { Regions = [.. well.Regions.Select(r => r with { Capacity = null })] },
            "traffic unknown" => well with { Regions = [.. well.Regions.Select(r => r with { Rate = null })] },
            "two observers, automatic" => Rules(well, r => r with { AutoFailover = true }) with { Observers = [.. well.Observers.Take(2)] },
            "two observers, by hand" => well with { Observers = [.. well.Observers.Take(2)] },
            "only one observer outside, automatic" => Rules(well, r => r with { AutoFailover = true }) with { Observers = [new("server", East, true), new($"gateway/{East}", East, true), new($"gateway/{West}", West, true)] },
            "server in the primary's region, automatic" => Rules(well, r => r with { AutoFailover = true }) with { Server = new(true, East) },
            "server in the primary's region, by hand" => well with { Server = new(true, East) },
            "one server" => well with { Server = new(true, null) },
            "runbook bad" => well with { Runbooks = [.. well.Runbooks, new() { Name = "bad", Sound = false, Problems = ["Step 'a' asks for the action 'x', which no room has."] }] },
            "failover refused" => well with { Runbooks = [new() { Name = "failover", Sound = true, Problems = ["the reason"], Database = "main" }] },
            "switchover refused" => well with { Runbooks = [new() { Name = "switchover", Sound = true, Problems = ["the reason"], Database = "main" }] },
            "runbook not reviewed" => well with { Runbooks = [.. well.Runbooks, new() { Name = "mine", Sound = true, Warnings = ["'mine' was last reviewed on 2026-01-01, 330 days ago."] }] },
            "no proof without a person" => Facts(well, f => f with { PowerReady = false }),
            "no lease is enforced" => Read(Rules(well, Leased), East, r => r with { Lease = null }),
            "the lease is carried by failsafe" => Read(Rules(well, Leased), East, r => r with { Lease = r.Lease! with { ByFailsafe = true } }),
            "a run moves the database" => well with { Databases = [well.Databases[0] with { Run = "run-1" }], Runbooks = [new() { Name = "failover", Sound = true, Problems = ["closing"], Database = "main" }] },
            "no epoch" => Facts(well, f => f with { Record = null }),
            "no copy" => Facts(well, f => f with { Record = Record with { Candidates = [East] } }),
            "mode observe" => well with { Policy = well.Policy with { Mode = PolicyMode.Observe } },
            _ => throw new ArgumentException(fault, nameof(fault)),
        };
    }

    private static ReadinessReading Well() => new()
    {
        Policy = new PolicyDocument(),
        Databases = [new(new FailoverFacts { Database = "main", Rules = new RecoveryRules(), Record = Record, PowerReady = true, Regions = [Copy(East, RegionRole.Primary), Copy(West, RegionRole.Standby), Copy(Europe, RegionRole.Replica), new() { Code = "ap-south-1", Role = RegionRole.Edge, HasDatabase = false }] })],
        Runbooks = [new() { Name = "failover", Sound = true, Database = "main" }],
        Observers = [new("server", null, true), new($"gateway/{East}", East, true), new($"gateway/{West}", West, true), new($"gateway/{Europe}", Europe, true)],
        Regions = [new(East, HealthState.Healthy, true, 60, 100), new(West, HealthState.Healthy, true, 10, 100), new(Europe, HealthState.Healthy, true, 0, 100)],
        Server = new(false, null),
        Dns = new("embedded", true, "ns answers"),
        Sources = ["backups", "drills"],
    };

    private static FailoverRegion Copy(string code, RegionRole role) => new()
    {
        Code = code, Role = role, HasDatabase = true, Health = HealthState.Healthy, AgentReachable = true, GatewayLive = true, KnownLag = code == East ? null : TimeSpan.Zero,
        Reading = new DatabaseReading
        {
            Database = "main", State = code == East ? DatabaseState.Primary : DatabaseState.Standby, AcceptsConnections = true, Guarded = true, Streaming = code != East,
            Lease = code == East ? new LeaseReading(TimeSpan.FromSeconds(5), true, false, "granted") : null,
            Received = new Lsn(1000), Replayed = new Lsn(1000), MarkerEpoch = 1,
            Settings = new DatabaseSettings { DataChecksums = true, WalLogHints = false, FullPageWrites = true, OldestWal = new Lsn(500) },
        },
    };

    private static RecoveryRules Leased(RecoveryRules rules) => rules with { AutoFailover = true, Fencing = FencingMode.Lease };

    private static ReadinessReading Facts(ReadinessReading reading, Func<FailoverFacts, FailoverFacts> change) =>
        reading with { Databases = [reading.Databases[0] with { Facts = change(reading.Databases[0].Facts) }] };

    private static ReadinessReading Rules(ReadinessReading reading, Func<RecoveryRules, RecoveryRules> change) =>
        Facts(reading with { Policy = reading.Policy with { Recovery = change(reading.Policy.Recovery) } }, f => f with { Rules = change(f.Rules) });

    private static ReadinessReading Region(ReadinessReading reading, string code, Func<FailoverRegion, FailoverRegion> change) =>
        Facts(reading, f => f with { Regions = [.. f.Regions.Select(r => r.Code == code ? change(r) : r)] });

    private static ReadinessReading Read(ReadinessReading reading, string code, Func<DatabaseReading, DatabaseReading> change) =>
        Region(reading, code, r => r with { Reading = change(r.Reading!) });

    private static ReadinessReading Settings(ReadinessReading reading, string code, Func<DatabaseSettings, DatabaseSettings> change) =>
        Read(reading, code, r => r with { Settings = change(r.Settings!) });

    private static ReadinessReading Loose(ReadinessReading reading, string setting) => Settings(reading, East, s => s with { LooseCommits = [new LooseCommit("app", null, setting)] });
}
