using System.Diagnostics;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;
using BuildRunner.Tests.Support;
using Npgsql;

namespace BuildRunner.Tests.Agent;

/// <summary>A PostgreSQL that somebody else made, laid out as Debian does (configuration elsewhere), with roles, rules and settings of its own.</summary>
public sealed class AgentAdoptionTests : IAsyncLifetime
{
    private const int TestMax = 120_000;
    private const string Region = "us-east-1";
    private readonly string _folder = AgentHost.NewFolder();
    private PostgresServer _theirs = null!;
    private AgentHost _host = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;
    private string ConfigFile => Path.Combine(_folder, "etc", "postgresql.conf");

    public async ValueTask InitializeAsync()
    {
        var etc = Directory.CreateDirectory(Path.Combine(_folder, "etc")).FullName;
        File.WriteAllText(ConfigFile, "work_mem = 7MB\nlog_line_prefix = 'it''s %p '\nwal_level = logical\nfull_page_writes = off\n");
        File.WriteAllText(Path.Combine(etc, "pg_hba.conf"), "local all all trust\nhost old old 127.0.0.1/32 reject\nhost all old 127.0.0.1/32 md5\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n");
        File.WriteAllText(Path.Combine(etc, "pg_ident.conf"), "theirs someone app\n");
        _theirs = await PostgresServer.StartAsync($"config_file={ConfigFile}", $"hba_file={etc}/pg_hba.conf", $"ident_file={etc}/pg_ident.conf");
        await _theirs.ExecuteAsync($"create role app login password '{AgentHost.AppPassword}'; set password_encryption = 'md5'; create role old login password 'old-password'");
        await _theirs.ExecuteAsync("create database app owner app");
        await _theirs.ExecuteAsync("create table kept (n int); insert into kept values (42); alter table kept owner to app", "app");
        _host = new AgentHost(_folder, Region, adopt: _theirs);
        _host.Assign(_host.Duty(1, _host, initialise: true));
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        await _theirs.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact(Timeout = TestMax)]
    public async Task Adopt_APrimaryThatRuns_IsLookedAtOnlyAndThenRestartedOnceUnderTheGuard()
    {
        var before = _theirs.ProcessId;
        await PassesAsync();
        var unfenced = (await _host.UnfencedAsync())!;
        Assert.Equal((DatabaseState.Unfenced, true, false, (long?)null), (unfenced.State, unfenced.AcceptsConnections, unfenced.Guarded, unfenced.MarkerEpoch));
        Assert.Contains("br dr adopt us-east-1", unfenced.Detail!, StringComparison.Ordinal);

        // Whoever started it may start it again: its end would prove nothing, and no order is obeyed.
        foreach (var kind in (string[])[DatabaseOrders.Fence, DatabaseOrders.Promote, DatabaseOrders.Restart])
        {
            var refused = await _host.OrderAsync(kind, 1, new FenceOrder("main", 1, "run-1"), WireJson.Default.FenceOrder);
            Assert.True(refused.Refused);
            Assert.Contains("unfenced", refused.Error!, StringComparison.Ordinal);
        }
        var survey = await SurveyAsync();
        Assert.Empty(survey.Problems);
        Assert.Contains(survey.Changes, c => c.Contains("restarted once", StringComparison.Ordinal));
        Assert.Contains(survey.Notes, n => n.Contains("full_page_writes", StringComparison.Ordinal));
        Assert.True(_theirs.IsRunning && _theirs.ProcessId == before, "nothing has happened to it");
        Assert.DoesNotContain("include", File.ReadAllText(ConfigFile), StringComparison.Ordinal);

        var adopted = await AdoptAsync();
        Assert.True(adopted.Effect && adopted.AwayMs > 0);
        TestContext.Current.TestOutputHelper?.WriteLine($"away for {adopted.AwayMs:0} ms");
        await _host.BecomesPrimaryAsync(1);
        Assert.True(_host.Reading!.Guarded);
        Assert.Equal(42, await _host.ScalarAsync<int>("select n from kept"));
        Assert.Equal(("7MB", "it's %p ", "logical", "on"), (await ShowAsync("work_mem"), await ShowAsync("log_line_prefix"), await ShowAsync("wal_level"), await ShowAsync("full_page_writes")));
        await using (var old = new NpgsqlConnection($"Host=127.0.0.1;Port={_host.Port};Username=old;Password=old-password;Database=app;Pooling=false;Timeout=5"))
            await old.OpenAsync(Cancel); // its rule and its md5 password go on
        await using (var socket = new NpgsqlConnection($"Host={_theirs.Folder};Port={_host.Port};Username=app;Password={AgentHost.AppPassword};Database=app;Pooling=false;Timeout=5"))
            await socket.OpenAsync(Cancel); // so does its socket
        Assert.False((await AdoptAsync()).Effect);

        // Nobody starts it the way that it was started before: not when the guard was killed and its permit is there, and not after a fence.
        await AgentPair.KillRegionAsync(_host);
        Assert.True(File.Exists(Path.Combine(_host.Home.PermitFolder(), "permit.conf")));
        await StartsNoMoreAsync();
        await _host.BecomesPrimaryAsync(1);
        Assert.Equal(FenceProofKind.Stopped, (await _host.FenceAsync(1)).Proof.Kind);
        Assert.Empty(_host.Processes());
        await StartsNoMoreAsync();
    }

    private async Task StartsNoMoreAsync()
    {
        var start = await Assert.ThrowsAsync<InvalidOperationException>(() => PostgresServer.RunAsync("pg_ctl", "start", "-w", "-t", "10", "-D", _theirs.DataFolder, "-l", $"{_theirs.Folder}/again.log", "-o", $"-c config_file={ConfigFile} -c port={_host.Port}"));
        Assert.Contains("could not start", start.Message, StringComparison.Ordinal);
        Assert.Contains("started-by-buildrunner-only", File.ReadAllText($"{_theirs.Folder}/again.log"), StringComparison.Ordinal);
    }

    [Fact(Timeout = TestMax)]
    public async Task Adopt_ThenAnAgentThatStartsAnew_KnowsItAndCopiesAreMadeOfIt()
    {
        await AdoptAsync();
        await _host.RestartAsync();
        _host.Assign(_host.Duty(1, _host));
        await _host.BecomesPrimaryAsync(1);
        await using var west = new AgentHost(_folder, "us-west-1");
        west.Assign(west.Duty(1, _host));
        await west.FollowsAsync(1);
        Assert.Equal(42, await west.ScalarAsync<int>("select n from kept"));
        Assert.Equal("7MB", await west.ScalarAsync<string>("select current_setting('work_mem')"));

        // Lost and promoted away, it rejoins where it always lay.
        await AgentPair.KillRegionAsync(_host);
        var moved = await west.PromoteAsync(2);
        west.Assign(west.Duty(2, west, moved: moved, former: _host));
        await west.ExecuteAsync("insert into kept values (43)");
        _host.Assign(_host.Duty(2, west, moved: moved, former: _host));
        await _host.FollowsAsync(2);
        Assert.Equal(43, await _host.ScalarAsync<int>("select max(n) from kept"));
        Assert.Equal(_theirs.DataFolder, _host.Home.Place);
        Assert.True(File.Exists($"{_theirs.DataFolder}/standby.signal"));
    }

    [Fact(Timeout = TestMax)]
    public async Task Adopt_TheGuardDoesNotCome_RunsAgainAsItWas()
    {
        var config = File.ReadAllText(ConfigFile);
        await SetProgramAsync("/bin/false");
        var failed = await Assert.ThrowsAsync<InvalidOperationException>(AdoptAsync);
        Assert.Contains("started again as it was", failed.Message, StringComparison.Ordinal);
        Assert.Equal(config, File.ReadAllText(ConfigFile));
        Assert.NotNull(_theirs.Postmaster);
        Assert.Equal(42, await _theirs.ScalarAsync<int>("select n from kept", "app"));
        Assert.Equal("7MB", await _theirs.ScalarAsync<string>("select current_setting('work_mem')"));
        Assert.Null(_host.State.Adoption);
        Assert.Equal(DatabaseState.Unfenced, (await _host.UnfencedAsync())!.State);

        await SetProgramAsync(BrExecutable.Path);
        Assert.True((await AdoptAsync()).Effect);
        await _host.BecomesPrimaryAsync(1);
    }

    [Fact(Timeout = TestMax)]
    public async Task Adopt_TheAgentEndsBetweenStopAndStart_TheNextOneEndsItOnceTheServerConfirms()
    {
        // What an agent that is killed just after the stop leaves.
        Assert.Empty((await SurveyAsync()).Problems);
        var former = Directory.CreateDirectory(Path.Combine(_host.Home.Folder, "before-adoption", "survey")).FullName;
        File.Copy(ConfigFile, Path.Combine(former, "outside.conf"));
        _host.Change(s => s with { Adoption = new(_theirs.DataFolder, "survey", 1, true, "127.0.0.1", [], ConfigFile) });
        await _theirs.StopAsync();
        Assert.Contains("cut short", Assert.Single((await SurveyAsync()).Problems), StringComparison.Ordinal);
        await SetProgramAsync(BrExecutable.Path);
        _host.Assign(_host.Duty(1, _host, initialise: true), confirm: false);
        await PassesAsync(confirm: false);
        Assert.Null(_theirs.Postmaster); // another region may have been given the epoch meanwhile
        _host.Assign(_host.Duty(1, _host, initialise: true));
        await _host.BecomesPrimaryAsync(1);
        Assert.Equal(42, await _host.ScalarAsync<int>("select n from kept"));
        Assert.True(_host.State.Adoption!.Done);
    }

    [Fact(Timeout = TestMax)]
    public async Task Adopt_ACopyThatStreamsAlready_FollowsWithoutBeingCopiedAnew()
    {
        await using var theirCopy = await _theirs.StartStandbyAsync("handmade");
        await using var west = new AgentHost(_folder, "us-west-1", adopt: theirCopy);
        west.Assign(west.Duty(1, _host));
        var early = await west.OrderAsync(AdoptOrders.Adopt, 1, new AdoptOrder("main", 1, "run-1"), WireJson.Default.AdoptOrder);
        Assert.Contains("did not say which database", early.Error!, StringComparison.Ordinal); // the primary has no role for copies yet

        await AdoptAsync();
        await _host.BecomesPrimaryAsync(1);
        var system = new FileInfo($"{theirCopy.DataFolder}/PG_VERSION").LastWriteTimeUtc;
        await AdoptAsync(west);
        await west.FollowsAsync(1);
        Assert.Equal(system, new FileInfo($"{theirCopy.DataFolder}/PG_VERSION").LastWriteTimeUtc);
        Assert.True(west.Reading!.Guarded);
        Assert.Equal(42, await west.ScalarAsync<int>("select n from kept"));
    }

    /// <summary>The agent ended before the stop, or its owner has started PostgreSQL again: what was written down starts nothing, also when it is stopped later.</summary>
    [Fact(Timeout = TestMax)]
    public async Task Adopt_CutShortWhilePostgreSqlServes_IsVoid()
    {
        _host.Change(s => s with { Adoption = new(_theirs.DataFolder, "run-0", 1, true, "127.0.0.1", [], ConfigFile) });
        _host.Options = _host.Options with { Adopt = null };
        await _host.RestartAsync();
        _host.Assign(_host.Duty(1, _host, initialise: true));
        var refused = await _host.OrderAsync(DatabaseOrders.Fence, 1, new FenceOrder("main", 1, "run-1"), WireJson.Default.FenceOrder);
        Assert.True(refused.Refused); // the note alone says that it is unfenced
        _host.Options = _host.Options with { Adopt = _theirs.DataFolder };
        await _host.RestartAsync();
        _host.Assign(_host.Duty(1, _host, initialise: true));
        await PassesAsync();
        Assert.Null(_host.State.Adoption);
        await _theirs.StopAsync();
        await PassesAsync();
        Assert.Null(_theirs.Postmaster);
        await _theirs.StartAgainAsync();
        Assert.True((await AdoptAsync()).Effect);
    }

    /// <summary>Somebody started the agent without --adopt first: it made a new database that could not start, for the port is theirs.</summary>
    [Fact(Timeout = TestMax)]
    public async Task Adopt_AfterAnAgentThatWasNotTold_TakesTheirsAndNotTheNewOne()
    {
        _host.Options = _host.Options with { Adopt = null };
        await _host.RestartAsync();
        _host.Assign(_host.Duty(1, _host, initialise: true));
        await PassesAsync();
        Assert.True(_host.State.Initialising && _host.Home.HasData);
        Assert.Empty(_host.Processes());
        _host.Options = _host.Options with { Adopt = _theirs.DataFolder };
        await _host.RestartAsync();
        _host.Assign(_host.Duty(1, _host, initialise: true));
        await PassesAsync();
        Assert.Equal(DatabaseState.Unfenced, (await _host.UnfencedAsync())!.State);
        Assert.True((await AdoptAsync()).Effect);
        await _host.BecomesPrimaryAsync(1);
        Assert.Equal(42, await _host.ScalarAsync<int>("select n from kept"));
        Assert.Equal(_theirs.DataFolder, _host.Home.Place);
    }

    [Fact(Timeout = TestMax)]
    public async Task Adopt_WithStatementsLoggedAndOldPasswords_NoSecretIsWrittenAndCopiesCome()
    {
        await _theirs.ExecuteAsync("alter system set log_statement = 'all'");
        await _theirs.ExecuteAsync("alter system set password_encryption = 'md5'");
        await _theirs.ExecuteAsync("select pg_reload_conf()");
        await AdoptAsync();
        await _host.BecomesPrimaryAsync(1);
        Assert.Contains("create schema if not exists buildrunner", File.ReadAllText(_host.Home.Log), StringComparison.Ordinal);
        Assert.DoesNotContain("pass:word", File.ReadAllText(_host.Home.Log), StringComparison.Ordinal);
        await using var west = new AgentHost(_folder, "us-west-1");
        west.Assign(west.Duty(1, _host));
        await west.FollowsAsync(1);
    }

    [Fact(Timeout = TestMax)]
    public async Task Survey_AShellInTheDataFolder_IsNamed()
    {
        using var shell = Process.Start(new ProcessStartInfo("sleep", ["60"]) { WorkingDirectory = _theirs.DataFolder })!;
        try { Assert.Contains($"process {shell.Id} (sleep)", Assert.Single((await SurveyAsync()).Problems), StringComparison.Ordinal); }
        finally
        {
            shell.Kill();
            await shell.WaitForExitAsync(Cancel);
        }
        Assert.Empty((await SurveyAsync()).Problems);
    }

    [Fact(Timeout = TestMax)]
    public async Task Survey_WhatStandsAgainstIt_IsSaidAtOnceAndNothingHappens()
    {
        _host.Assign(_host.Duty(1, _host, initialise: true) with { DatabaseName = "shop", User = "shop" });
        await _theirs.ExecuteAsync("alter system set shared_preload_libraries = 'nosuchlib'"); // its next start would fail by that, and the one after too
        File.AppendAllText(Path.Combine(_folder, "etc", "pg_hba.conf"), "host all all nonsense\n");
        var survey = await SurveyAsync();
        Assert.Contains(survey.Problems, p => p.Contains("not in force: shared_preload_libraries", StringComparison.Ordinal));
        Assert.Contains(survey.Problems, p => p.Contains("of pg_hba.conf", StringComparison.Ordinal));
        Assert.Contains(survey.Problems, p => p.Contains("no database shop (it has app, postgres)", StringComparison.Ordinal));
        Assert.Contains(survey.Problems, p => p.Contains("no role shop", StringComparison.Ordinal));
        Assert.Empty(survey.Changes);
        Assert.True((await _host.OrderAsync(AdoptOrders.Adopt, 1, new AdoptOrder("main", 1, "run-1"), WireJson.Default.AdoptOrder)).Refused);
        Assert.True(_theirs.IsRunning);
        await _theirs.StopAsync();
        Assert.Contains("start it as always", Assert.Single((await SurveyAsync()).Problems), StringComparison.Ordinal);
    }

    private async Task SetProgramAsync(string path)
    {
        _host.Options = _host.Options with { Executable = path };
        await _host.RestartAsync();
        _host.Assign(_host.Duty(1, _host, initialise: true));
        await _host.ReconcileAsync();
    }

    private Task<string> ShowAsync(string setting) => _host.ScalarAsync<string>($"select current_setting('{setting}')");

    private async Task PassesAsync(bool confirm = true)
    {
        for (var pass = 0; pass < 5; pass++)
            await _host.ReconcileAsync(confirm);
    }

    private async Task<AdoptSurvey> SurveyAsync()
    {
        var result = await _host.OrderAsync(AdoptOrders.Survey, 1, new AdoptOrder("main", 1, "run-1"), WireJson.Default.AdoptOrder);
        Assert.True(result.Done, result.Error);
        return result.Data!.Value.Deserialize(WireJson.Default.AdoptSurvey)!;
    }

    private Task<AdoptResult> AdoptAsync() => AdoptAsync(_host);

    private static async Task<AdoptResult> AdoptAsync(AgentHost host)
    {
        var result = await host.Work.CarryOutAsync(Order(AdoptOrders.Adopt), Cancel);
        Assert.True(result.Done, result.Error);
        return result.Data!.Value.Deserialize(WireJson.Default.AdoptResult)!;
    }

    private static Client.Hosting.Order Order(string kind) => new()
    {
        Id = Guid.NewGuid().ToString(),
        Kind = kind,
        Epoch = 1,
        FencingToken = 1,
        Arguments = JsonSerializer.SerializeToElement(new AdoptOrder("main", 1, "run-1"), WireJson.Default.AdoptOrder),
    };
}
