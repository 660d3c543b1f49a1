using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Agent.Adoption;

namespace BuildRunner.Tests.Agent;

public class AdoptionPlanTests
{
    private static readonly FoundAnswers Said = new()
    {
        InRecovery = false,
        Superuser = true,
        System = "7",
        Number = 150_014,
        Version = "15.14",
        Checksums = true,
        ConfigFile = "/etc/postgresql/15/main/postgresql.conf",
        HbaFile = "/etc/postgresql/15/main/pg_hba.conf",
        IdentFile = "/etc/postgresql/15/main/pg_ident.conf",
        Listen = "localhost",
        Sockets = "/var/run/postgresql",
        SyncNames = "",
        Databases = ["postgres", "shop"],
        Roles = ["postgres", "shop"],
        Tablespaces = [],
        Sessions = 3,
        Receivers = 0,
        Statements = true,
        Timeline = 1,
        Position = "0/3000000",
        Files = [],
        Arguments = [],
        Pending = [],
        InForce = new Dictionary<string, string> { ["max_wal_senders"] = "10", ["max_replication_slots"] = "10", ["max_prepared_transactions"] = "0", ["wal_level"] = "replica" },
        Rules = [],
        LocalMethods = ["peer"],
    };

    private static readonly FoundServer Found = new() { Folder = "/var/lib/postgresql/15/main", Process = 812, Port = 5432, ProgramsMajor = 15, Said = Said };

    private static readonly AdoptionWish Wish = new()
    {
        Region = "us-east-1",
        Host = "10.0.0.5",
        Port = 5432,
        Assignment = new() { Name = "main", Epoch = 1, State = EpochState.Open, Duty = DatabaseDuty.Primary, Primary = "us-east-1", PrimaryHost = "10.0.0.5", PrimaryPort = 5432, DatabaseName = "shop", User = "shop" },
    };

    private static readonly AdoptionWish CopyWish = Wish with { Region = "us-west-1", Assignment = Wish.Assignment with { Duty = DatabaseDuty.Standby }, PrimarySystem = "7" };

    [Fact]
    public void Of_APrimaryThatFits_SaysWhatIsDone()
    {
        var plan = AdoptionPlan.Of(Found, Wish);
        Assert.Empty(plan.Problems);
        Assert.Empty(plan.Notes);
        Assert.Equal(4, plan.Changes.Count);
        Assert.Contains("its 3 sessions are cut", plan.Changes[0], StringComparison.Ordinal);
        Assert.Contains("/etc/postgresql/15/main/postgresql.conf gets a first line", plan.Changes[2], StringComparison.Ordinal);
    }

    [Fact]
    public void Of_ACopyOfThePrimary_FollowsIt() => Assert.Contains(AdoptionPlan.Of(Found with { Said = Said with { InRecovery = true } }, CopyWish).Changes, c => c.Contains("follows us-east-1", StringComparison.Ordinal));

    public static TheoryData<string, string> Against() => new()
    {
        { "keep", "has not said yet" },
        { "standby-as-primary", "is a standby" },
        { "primary-as-copy", "takes writes" },
        { "another", "another database (system 8)" },
        { "silent", "did not say which database" },
        { "user", "no superuser" },
        { "old", "versions 15 to 18" },
        { "new", "versions 15 to 18" },
        { "programs", "--postgres-bin" },
        { "no-programs", "of an unknown version" },
        { "port", "port 5433" },
        { "database", "no database shop" },
        { "role", "no role shop" },
        { "marker", "marker of epoch 4" },
        { "statements", "pg_stat_statements" },
        { "tablespaces", "tablespaces (fast)" },
        { "secret", "secret `app`" },
        { "disk", "a mount point" },
        { "broken", "work_mem: invalid value" },
        { "waiting", "not in force: shared_buffers" },
        { "wrong", "not in force: work_mem" },
        { "rule", "line 3 of pg_hba.conf" },
        { "senders", "max_wal_senders is 2" },
        { "slots", "max_replication_slots is 4" },
        { "ours", "was broken off there" },
    };

    [Theory]
    [MemberData(nameof(Against))]
    public void Of_WhatStandsAgainstIt_IsSaidAndNothingWouldBeDone(string what, string sentence)
    {
        FoundServer Says(Func<FoundAnswers, FoundAnswers> said) => Found with { Said = said(Said) };
        var (found, wish) = what switch
        {
            "keep" => (Found, Wish with { Assignment = Wish.Assignment with { Duty = DatabaseDuty.Keep } }),
            "standby-as-primary" => (Says(s => s with { InRecovery = true }), Wish),
            "primary-as-copy" => (Found, CopyWish),
            "another" => (Says(s => s with { InRecovery = true, System = "8" }), CopyWish),
            "silent" => (Says(s => s with { InRecovery = true }), CopyWish with { PrimarySystem = null }),
            "user" => (Says(s => s with { Superuser = false }), Wish),
            "old" => (Says(s => s with { Number = 140_010, Version = "14.10" }), Wish),
            "new" => (Says(s => s with { Number = 190_000, Version = "19.0" }), Wish),
            "programs" => (Says(s => s with { Number = 160_002, Version = "16.2" }), Wish),
            "no-programs" => (Found with { ProgramsMajor = null }, Wish),
            "port" => (Found with { Port = 5433 }, Wish),
            "database" => (Says(s => s with { Databases = ["postgres"] }), Wish),
            "role" => (Says(s => s with { Roles = ["postgres"] }), Wish),
            "marker" => (Found with { Marker = 4 }, Wish),
            "statements" => (Says(s => s with { Statements = false }), Wish),
            "tablespaces" => (Says(s => s with { Tablespaces = ["fast"] }), Wish),
            "secret" => (Found, Wish with { MissingSecrets = ["app"] }),
            "disk" => (Found with { DiskProblems = ["/data is itself a mount point."] }, Wish),
            "broken" => (Says(s => s with { Files = [new("work_mem", "x", "invalid value")] }), Wish),
            "waiting" => (Says(s => s with { Pending = ["shared_buffers"], Files = [new("shared_buffers", "1GB", "setting could not be applied")] }), Wish),
            "wrong" => (Says(s => s with { Files = [new("work_mem", "abc", "setting could not be applied")] }), Wish), // it says the same of both
            "rule" => (Says(s => s with { Rules = ["line 3 of pg_hba.conf: invalid connection type"] }), Wish),
            "senders" => (Says(s => s with { InForce = new Dictionary<string, string> { ["max_wal_senders"] = "2" } }), Wish),
            "slots" => (Says(s => s with { InForce = new Dictionary<string, string> { ["max_replication_slots"] = "4" } }), Wish),
            "ours" => (Found with { Broken = true }, Wish),
            _ => throw new ArgumentOutOfRangeException(nameof(what)),
        };
        var plan = AdoptionPlan.Of(found, wish);
        Assert.Contains(sentence, Assert.Single(plan.Problems), StringComparison.Ordinal);
        Assert.Empty(plan.Changes);
    }

    [Fact]
    public void Settings_OfTheUser_GoOnAndTheHousesDoNot()
    {
        var said = Said with
        {
            Checksums = false,
            Files =
            [
                new("shared_buffers", "1GB"), new("shared_buffers", "2GB"), new("log_line_prefix", "it's %p"), new("port", "5432"), new("data_directory", "/var/lib/postgresql/15/main"),
                new("shared_preload_libraries", "auto_explain"), new("full_page_writes", "off"), new("archive_command", "echo a\\.b\t'%p'"),
                new("work_mem", "9MB", null, Auto: true), new("restore_command", "cp", null, Auto: true), new(null, null),
            ],
            Arguments = [new("fsync", "off")],
            InForce = new Dictionary<string, string> { ["shared_buffers"] = "2GB", ["shared_preload_libraries"] = "auto_explain", ["max_wal_senders"] = "10", ["max_prepared_transactions"] = "0", ["wal_level"] = "logical" },
        };
        Assert.Equal(
            [
                "archive_command = 'echo a\\\\.b\\t''%p'''", "fsync = 'off'", "log_line_prefix = 'it''s %p'", "max_prepared_transactions = '0'", "max_wal_senders = '10'", "shared_buffers = '2GB'",
                "shared_preload_libraries = 'auto_explain, pg_stat_statements'", "wal_level = 'logical'", "wal_log_hints = 'on'",
            ],
            AdoptionFiles.Settings(said).Split('\n', StringSplitOptions.RemoveEmptyEntries)[1..]);
        Assert.Equal(["full_page_writes", "restore_command"], AdoptionFiles.Dropped(said));
        Assert.DoesNotContain("wal_level", AdoptionFiles.Settings(Said), StringComparison.Ordinal);
    }

    [Fact]
    public void Automatic_WithoutWhatIsTheHouses() =>
        Assert.Equal("# Do not edit\nwork_mem = '9MB'\n", AdoptionFiles.Automatic("# Do not edit\npromote_trigger_file = '/tmp/x'\nrecovery_min_apply_delay = '1h'\nwork_mem = '9MB'\nprimary_conninfo = 'host=x'\n"));

    [Theory]
    [InlineData("host all @admins 10.0.0.0/8 md5", true)]
    [InlineData("host all app,@admins all md5", true)]
    [InlineData("include more.conf", true)]
    [InlineData("include_if_exists \"more.conf\"", true)]
    [InlineData("include_dir /etc/more", false)]
    [InlineData("host all @/etc/admins all md5", false)]
    [InlineData("# host all @admins all md5", false)]
    [InlineData("host all \"a@b\" all md5", false)]
    public void Relative_NamesOfOtherFiles_AreFound(string line, bool found) => Assert.Equal(found, AdoptionFiles.Relative($"local all all peer\n{line}\n").Count == 1);

    /// <summary>RFC 7677's example.</summary>
    [Fact]
    public void Verifier_OfTheStandardsExample_ProvesItsServer()
    {
        var verifier = PostgresScram.Verifier("pencil", Convert.FromBase64String("W22ZaJ0SNY7soEsUEjb6gQ=="));
        Assert.StartsWith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$", verifier, StringComparison.Ordinal);
        var signature = System.Security.Cryptography.HMACSHA256.HashData(Convert.FromBase64String(verifier.Split(':')[^1]), System.Text.Encoding.ASCII.GetBytes(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"));
        Assert.Equal("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", Convert.ToBase64String(signature));
    }

    [Theory]
    [InlineData("", "10.0.0.5", "10.0.0.5")]
    [InlineData("*", "10.0.0.5", "*")]
    [InlineData("localhost", "10.0.0.5", "localhost,10.0.0.5")]
    [InlineData("localhost, 10.0.0.5", "10.0.0.5", "localhost, 10.0.0.5")]
    [InlineData("localhost", "127.0.0.1", "localhost")]
    public void Listen_WhatWasThere_GoesOn(string before, string host, string after) => Assert.Equal(after, AdoptionFiles.Listen(before, host));

    [Theory]
    [InlineData("", "")]
    [InlineData("/var/run/postgresql", "/var/run/postgresql")]
    [InlineData("/var/run/postgresql, \"/tmp/a b\", @abstract", "/var/run/postgresql|/tmp/a b")]
    public void Sockets_FoldersOnly(string before, string after) => Assert.Equal(after, string.Join('|', AdoptionFiles.Sockets(before)));

    [Fact]
    public void Closed_GivenTwice_HasItOnce()
    {
        var once = AdoptionFiles.Closed("work_mem = 7MB\n");
        Assert.StartsWith("include 'started-by-buildrunner-only'", once, StringComparison.Ordinal);
        Assert.EndsWith("\nwork_mem = 7MB\n", once, StringComparison.Ordinal);
        Assert.Equal(once, AdoptionFiles.Closed(once));
    }

    [Fact]
    public void Of_SettingsThatNameFilesAndLibraries_SaysThatCopiesNeedThem()
    {
        var plan = AdoptionPlan.Of(Found with { Said = Said with { Files = [new("ssl_cert_file", "/etc/ssl/shop.pem"), new("ssl_key_file", "server.key"), new("shared_preload_libraries", "pg_stat_statements,timescaledb")] } }, Wish);
        Assert.Equal("every host with a copy needs what these settings name: shared_preload_libraries, ssl_cert_file", Assert.Single(plan.Notes));
    }

    [Fact]
    public void HostBased_RulesOfTheUser_StandInThePlaceOfTheUsualOnesAndBelowTheHouses()
    {
        var usual = PostgresConfig.HostBased(null);
        Assert.Contains("host all postgres all reject", usual, StringComparison.Ordinal);
        var theirs = PostgresConfig.HostBased("host shop shop 10.0.0.0/8 md5\n");
        Assert.DoesNotContain("host all postgres all reject", theirs, StringComparison.Ordinal);
        Assert.True(theirs.IndexOf("local all postgres peer map=br", StringComparison.Ordinal) < theirs.IndexOf("host shop", StringComparison.Ordinal));
        Assert.True(theirs.IndexOf("br_replication all scram-sha-256", StringComparison.Ordinal) < theirs.IndexOf("host shop", StringComparison.Ordinal));
    }
}
