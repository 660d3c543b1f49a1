using System.ComponentModel;
using System.Diagnostics;
using BuildRunner.Client.Databases;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent.Adoption;

/// <summary>
/// Takes over a PostgreSQL that somebody else made and runs (FAILOVER.md 4): one restart, under the guard. Everything that can be wrong is tried before
/// the stop; from the stop on, what fails is answered by starting it as it was. Each part may be done again.
/// </summary>
internal sealed partial class AdoptionWork(
    AgentOptions options, AgentStateFile state, AssignmentBook book, PostgresHome home, PostgresAccount account, PostgresTools tools, PostgresDriver driver, GuardClient guard,
    AdoptionReader reader, ILogger<AdoptionWork> logger)
{
    private static readonly TimeSpan CheckpointMax = TimeSpan.FromMinutes(10);

    private static readonly TimeSpan GuardMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan GuardLook = TimeSpan.FromMilliseconds(10);

    /// <summary>Sessions have been cut by then; a stop that waits for an archive command, say, becomes an immediate one, from which it recovers.</summary>
    private const int FastSeconds = 30;
    private const int ImmediateSeconds = 30;
    private static readonly string[] Files = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf", "postmaster.opts", "postgresql.user.conf", "pg_hba.user.conf", "pg_ident.user.conf"];
    private static readonly string[] Carried = ["postgresql.user.conf", "pg_hba.user.conf", "pg_ident.user.conf"];

    /// <summary>A PostgreSQL was named, and it is not under the guard yet: of this host's database nothing can be promised.</summary>
    public bool IsPending => options.Adopt is not null && (state.Current.Adoption is { Done: false } || (state.Current.Adoption is null && home.IsPrepared && (!home.HasData || state.Current.Initialising)));

    /// <summary>The data directory that was named, or that is being taken over; null: none.</summary>
    public string? Folder => state.Current.Adoption?.Folder ?? options.Adopt;

    /// <summary>An adoption that was consented to was cut short, and PostgreSQL does not run: its users wait for the end of it.</summary>
    public bool IsDown => state.Current.Adoption is { Done: false } note && AdoptionReader.ProcessIn(note.Folder) is null;

    /// <summary>What taking it over would meet; changes nothing.</summary>
    public async Task<AdoptSurvey> SurveyAsync(CancellationToken cancel)
    {
        await home.PrepareAsync(cancel);
        if (state.Current.Adoption is { Done: true } done)
            return new AdoptSurvey { Folder = done.Folder, Adopted = true };
        if (options.Adopt is not { } folder)
            return new AdoptSurvey { Problems = [$"The agent of {options.Region} was told of no PostgreSQL to adopt: start it with --adopt and the data directory."] };
        if (!IsPending)
            return new AdoptSurvey { Folder = folder, Problems = [$"{options.Region} has a database of BuildRunner's in {home.Data} already: start the agent without --adopt, or move that one away first."] };
        try
        {
            var plan = (await LookAsync(cancel)).Plan;
            return new AdoptSurvey { Folder = folder, Problems = plan.Problems, Changes = plan.Changes, Notes = plan.Notes };
        }
        catch (InvalidOperationException error) { return new AdoptSurvey { Folder = folder, Problems = [error.Message] }; }
    }

    /// <summary>Takes it over, or ends what was cut short.</summary>
    /// <param name="run">The run that it was consented to by; null: the one before.</param>
    /// <param name="cancel">Ends it at once; the next pass goes on.</param>
    public async Task<AdoptResult> TakeAsync(string? run, CancellationToken cancel)
    {
        if (state.Current.Adoption is { Done: true } done)
            return new AdoptResult(done.Folder, Effect: false, done.AwayMs);
        // Consent to a run that has ended is no consent to a restart today: it still runs as it did.
        if (state.Current.Adoption is { } former && former.Run != run && AdoptionReader.ProcessIn(former.Folder) is not null && !await IsGuardedAsync(former, cancel))
            state.Change(s => s with { Adoption = null });
        var note = state.Current.Adoption ?? await BeginAsync(run ?? throw new InvalidOperationException("Nobody has consented to an adoption."), cancel);
        double? away = null;
        if (!await IsGuardedAsync(note, cancel))
            away = await RestartAsync(note, cancel);
        var assignment = Assignment;
        if (note.Primary)
            await driver.FurnishAdoptedAsync(assignment, note.Epoch, cancel);
        state.Change(s => s with
        {
            Adoption = note with { Done = true, AwayMs = away },
            PrimaryEpoch = note.Primary ? note.Epoch : null,
            Following = note.Primary ? null : DatabasePlanner.Target(assignment),
            Initialising = false,
            Rebuilding = false,
            CutEpoch = null,
            CutRun = null,
        });
        LogAdopted(logger, note.Folder, note.Primary ? "primary" : "copy", note.Epoch, away ?? double.NaN);
        return new AdoptResult(note.Folder, Effect: true, away);
    }

    private DatabaseAssignment Assignment => book.Current?.Database ?? throw new InvalidOperationException($"{options.Region} has no database assigned.");

    /// <summary>The very one, and not a new database that an agent began to make here before it was told to adopt.</summary>
    private async Task<bool> IsGuardedAsync(AdoptionNote note, CancellationToken cancel) => home.Place == note.Folder && await guard.StatusAsync(cancel) is { Running: true };

    /// <summary>PostgreSQL may answer some milliseconds before its guard does.</summary>
    private async Task<bool> ComesUnderGuardAsync(AdoptionNote note, CancellationToken cancel)
    {
        var started = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(GuardLook);
        while (!await IsGuardedAsync(note, cancel))
        {
            if (guard.HasEnded || Stopwatch.GetElapsedTime(started) > GuardMax)
                return false;
            await pace.WaitForNextTickAsync(cancel);
        }
        return true;
    }

    private string Beside => Path.Combine(home.Folder, "adopting");
    private string Former => Path.Combine(home.Folder, "before-adoption");

    private async Task<(FoundServer Found, AdoptionPlan Plan)> LookAsync(CancellationToken cancel)
    {
        var assignment = Assignment;
        var found = await reader.ReadAsync(assignment, cancel);
        return (found, AdoptionPlan.Of(found, new AdoptionWish
        {
            Region = options.Region,
            Host = options.Host,
            Port = options.DatabasePort,
            Assignment = assignment,
            PrimarySystem = assignment.Duty == DatabaseDuty.Standby && found.Said.InRecovery ? await PrimarySystemAsync(assignment, cancel) : null,
            MissingSecrets = [.. ((string[])["replication", "app"]).Where(IsMissing)],
        }));
    }

    private bool IsMissing(string secret)
    {
        try { return driver.Secret(secret).Length == 0; }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or InvalidOperationException) { return true; }
    }

    private async Task<string?> PrimarySystemAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        try { return await driver.Primary(assignment, "postgres").ScalarAsync<string>("select system_identifier::text from pg_control_system()", cancel); }
        catch (Exception error) when (error is NpgsqlException or TimeoutException or InvalidOperationException) { return null; }
    }

    /// <summary>Looks once more, writes everything that is needed beside, and has PostgreSQL itself read it; only then is it written down that it begins.</summary>
    private async Task<AdoptionNote> BeginAsync(string run, CancellationToken cancel)
    {
        if (!IsPending)
            throw new OrderRefusedException($"{options.Region} has nothing to adopt: its agent was started without --adopt, or has a database already.");
        if (home.HasData && await guard.StatusAsync(cancel) is { Running: true })
            throw new OrderRefusedException($"A new database that was begun in {home.Data} runs under a guard: end that one first (`br guard` in `ps`).");
        var (found, plan) = await LookAsync(cancel);
        if (plan.Problems.Count > 0)
            throw new OrderRefusedException(string.Join(" ", plan.Problems));
        var said = found.Said;
        var outside = Path.GetDirectoryName(said.ConfigFile) != found.Folder ? said.ConfigFile : null;
        var note = new AdoptionNote(found.Folder, run, Assignment.Epoch, !said.InRecovery, AdoptionFiles.Listen(said.Listen, options.Host), AdoptionFiles.Sockets(said.Sockets), outside);
        account.MakeFolder(Beside);
        account.Write(Path.Combine(Beside, "postgresql.user.conf"), AdoptionFiles.Settings(said));
        account.Write(Path.Combine(Beside, "pg_hba.user.conf"), await File.ReadAllTextAsync(said.HbaFile, cancel));
        account.Write(Path.Combine(Beside, "pg_ident.user.conf"), await File.ReadAllTextAsync(said.IdentFile, cancel));
        await TryAsync(found, note, cancel);
        if (!note.Primary)
            await driver.MakeSlotAsync(Assignment, cancel);
        KeepFormer(found.Folder, outside);
        state.Change(s => s with { Adoption = note });
        LogBegun(logger, found.Folder, run);
        return note;
    }

    /// <summary>Reads the new configuration with the very program that will, while the server runs on.</summary>
    private async Task TryAsync(FoundServer found, AdoptionNote note, CancellationToken cancel)
    {
        var permitted = PostgresConfig.Main(options, Beside, new PostgresDoors(note.Listen, note.Sockets)).Split('\n').Where(l => !l.Contains("permit.conf", StringComparison.Ordinal));
        var config = Path.Combine(Beside, "postgresql.conf");
        account.Write(config, string.Join('\n', permitted));
        var tried = await tools.RunAsync("postgres", ["-D", found.Folder, "-C", "max_connections", "-c", $"config_file={config}"], "/", cancel);
        if (tried.Code != 0)
            throw new OrderRefusedException($"PostgreSQL would not start with its settings as they were found: {ErrorClause.Of(tried.Talk)}. They are in {config} and beside it; nothing was changed.");
    }

    private void KeepFormer(string folder, string? config)
    {
        if (Directory.Exists(Former))
            Directory.Delete(Former, recursive: true);
        account.MakeFolder(Former);
        foreach (var name in Files.Where(n => File.Exists(Path.Combine(folder, n))))
            account.Write(Path.Combine(Former, name), File.ReadAllText(Path.Combine(folder, name)));
        if (config is not null)
            account.Write(Path.Combine(Former, "outside.conf"), File.ReadAllText(config));
    }

    /// <summary>How long it did not answer, in milliseconds; null: it was down before.</summary>
    private async Task<double?> RestartAsync(AdoptionNote note, CancellationToken cancel)
    {
        var ran = AdoptionReader.ProcessIn(note.Folder) is not null;
        if (ran)
            await CheckpointAsync(note, cancel);
        var started = Stopwatch.GetTimestamp();
        try
        {
            if (ran)
                await StopAsync(note, cancel);
            if (AdoptionReader.Strangers(note.Folder, postmaster: null) is [var left, ..])
                throw new InvalidOperationException($"{left} is left in {note.Folder} after PostgreSQL's stop.");
            await PlaceAsync(note, cancel);
            await driver.StartAsync(standby: !note.Primary, cancel);
            // Whoever started it before may have been quicker than we.
            if (!await ComesUnderGuardAsync(note, cancel))
                throw new InvalidOperationException($"PostgreSQL in {note.Folder} does not run under the guard: something else started it.");
            return ran ? Stopwatch.GetElapsedTime(started).TotalMilliseconds : null;
        }
        catch (Exception error) when (error is InvalidOperationException or IOException or Win32Exception or NpgsqlException or TimeoutException or UnauthorizedAccessException)
        {
            var clause = ErrorClause.Of(error);
            LogFailed(logger, note.Folder, clause);
            throw new InvalidOperationException($"{clause}. {await GiveBackAsync(note)}", error);
        }
    }

    /// <summary>What the stop would have to write, while everybody goes on.</summary>
    private async Task CheckpointAsync(AdoptionNote note, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(CheckpointMax);
        var found = await reader.ReadAsync(Assignment, limit.Token);
        for (var checkpoint = 0; checkpoint < 2; checkpoint++)
            await tools.MustRunAsync("psql", ["-X", "-q", "-w", "-h", AdoptionFiles.Sockets(found.Said.Sockets)[0], "-p", found.Port.ToString(CultureInfo.InvariantCulture), "-U", "postgres", "-d", "postgres", "-c", "checkpoint"], "/", limit.Token);
    }

    private async Task StopAsync(AdoptionNote note, CancellationToken cancel)
    {
        var fast = await tools.RunAsync("pg_ctl", ["stop", "-D", note.Folder, "-m", "fast", "-w", "-t", $"{FastSeconds}"], "/", cancel);
        if (fast.Code != 0 && AdoptionReader.ProcessIn(note.Folder) is not null)
            await tools.MustRunAsync("pg_ctl", ["stop", "-D", note.Folder, "-m", "immediate", "-w", "-t", $"{ImmediateSeconds}"], "/", cancel);
    }

    private async Task PlaceAsync(AdoptionNote note, CancellationToken cancel)
    {
        if (state.Current.Initialising)
            home.Clear(); // begun by an agent that had not been told yet, and never used
        home.Lead(note.Folder);
        foreach (var name in Carried)
            account.Write(Path.Combine(note.Folder, name), await File.ReadAllTextAsync(Path.Combine(Beside, name), cancel));
        if (note.ConfigFile is { } config)
        {
            // Written over, not replaced: owner and rights stay. What is cut off in the middle starts nothing, which is the line's purpose.
            await File.WriteAllTextAsync(config, AdoptionFiles.Closed(await File.ReadAllTextAsync(Path.Combine(Former, "outside.conf"), cancel)), cancel);
        }
        driver.Sync(Assignment.Sync ?? "");
        driver.Follow(note.Primary ? null : Assignment);
    }

    /// <summary>Starts it as it was; what that came to, as a sentence.</summary>
    private async Task<string> GiveBackAsync(AdoptionNote note)
    {
        try
        {
            if (home.HasData)
            {
                await guard.StopAsync(TimeSpan.FromSeconds(5), CancellationToken.None);
                await driver.WaitForGuardAsync(CancellationToken.None);
            }
            home.Lead(null);
            foreach (var name in Files)
            {
                var (before, now) = (Path.Combine(Former, name), Path.Combine(note.Folder, name));
                if (File.Exists(before))
                    account.Write(now, await File.ReadAllTextAsync(before));
                else
                    File.Delete(now);
            }
            foreach (var ours in (string[])["replication.conf", "sync.conf", "moving.conf"])
                File.Delete(Path.Combine(note.Folder, ours));
            if (note.ConfigFile is { } config)
                await File.WriteAllTextAsync(config, await File.ReadAllTextAsync(Path.Combine(Former, "outside.conf")));
            if (AdoptionReader.ProcessIn(note.Folder) is null)
            {
                // With the arguments that it was started with, which postmaster.opts keeps.
                var log = Path.Combine(Former, "postgres.log");
                var started = await tools.RunAsync("pg_ctl", ["restart", "-D", note.Folder, "-w", "-t", "60", "-l", log], "/", CancellationToken.None);
                if (started.Code != 0 && AdoptionReader.ProcessIn(note.Folder) is null)
                    throw new InvalidOperationException($"pg_ctl ended with {started.Code} ({ErrorClause.Of(started.Talk)}); its words are in {log}");
            }
            state.Change(s => s with { Adoption = null });
            LogGivenBack(logger, note.Folder);
            return "PostgreSQL was started again as it was, without a guard; nothing of it was changed";
        }
        catch (Exception error) when (error is InvalidOperationException or IOException or Win32Exception or UnauthorizedAccessException)
        {
            LogNotGivenBack(logger, note.Folder, error.Message);
            return $"And it could not be started as it was: {ErrorClause.Of(error)}. Its former files are in {Former}";
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "The PostgreSQL in {Folder} is being adopted, as {Run} consents to: it is restarted once under the guard.")]
    private static partial void LogBegun(ILogger logger, string folder, string run);

    [LoggerMessage(Level = LogLevel.Information, Message = "The PostgreSQL in {Folder} was adopted as the {Role} of epoch {Epoch}; it was away for {Milliseconds} ms.")]
    private static partial void LogAdopted(ILogger logger, string folder, string role, long epoch, double milliseconds);

    [LoggerMessage(Level = LogLevel.Error, Message = "The PostgreSQL in {Folder} was not adopted: {Reason}.")]
    private static partial void LogFailed(ILogger logger, string folder, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The PostgreSQL in {Folder} runs again as it was, without a guard.")]
    private static partial void LogGivenBack(ILogger logger, string folder);

    [LoggerMessage(Level = LogLevel.Critical, Message = "The PostgreSQL in {Folder} is down, and could not be started as it was: {Reason}")]
    private static partial void LogNotGivenBack(ILogger logger, string folder, string reason);
}
