using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using System.Text.Json;
using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent.Adoption;

/// <summary>
/// Takes over a PostgreSQL that somebody else made and runs (FAILOVER.md 4): one restart, under the guard. Everything that can be wrong is tried before
/// the stop, and nothing is written down before it; from the stop on, what fails is answered by starting it as it was. Each part may be done again.
/// </summary>
internal sealed partial class AdoptionWork(
    AgentOptions options, AgentStateFile state, AssignmentBook book, PostgresHome home, PostgresAccount account, PostgresTools tools, PostgresDriver driver, GuardClient guard,
    AdoptionReader reader, ILogger<AdoptionWork> logger)
{
    private static readonly TimeSpan CheckpointMax = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan GuardMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan GuardLook = TimeSpan.FromMilliseconds(10);

    /// <summary>Sessions have been cut by then; a stop that waits for an archive command, say, becomes an immediate one, from which it recovers.</summary>
    private const int FastSeconds = 30;
    private const int ImmediateSeconds = 30;
    private const string Outside = "outside.conf";
    private static readonly string[] Files = ["postgresql.conf", "pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf", "postmaster.opts", "postgresql.user.conf", "pg_hba.user.conf", "pg_ident.user.conf", "replication.conf", "sync.conf", "moving.conf", "standby.signal", "recovery.signal"];
    private static readonly string[] Carried = ["postgresql.user.conf", "pg_hba.user.conf", "pg_ident.user.conf"];

    /// <summary>
    /// A PostgreSQL was named, or is being taken over, and is not under the guard yet: of this host's database nothing can be promised. So it is also while
    /// this agent has not looked yet whether it has a database of its own.
    /// </summary>
    public bool IsPending => state.Current.Adoption is { Done: false } || (options.Adopt is not null && state.Current.Adoption is null && (!home.IsPrepared || !home.HasData || state.Current.Initialising));

    /// <summary>The data directory that was named, or that is being taken over; null: none.</summary>
    public string? Folder => state.Current.Adoption?.Folder ?? options.Adopt;

    /// <summary>An adoption that was consented to was cut short, and PostgreSQL does not run: its users wait for the end of it.</summary>
    public bool IsDown => state.Current.Adoption is { Done: false } note && AdoptionReader.ProcessIn(note.Folder) is null;

    /// <summary>
    /// To be called while no order is under way. A consent ends with what it was given to: where PostgreSQL serves as it did, what was written down of its
    /// adoption is void, and is no reason to start it some day when its owner has stopped it.
    /// </summary>
    public void Forget()
    {
        // Not by whether a guard answers: one that is slow, or just starting, says nothing.
        if (state.Current.Adoption is not { Done: false } note || !AdoptionReader.Serves(note.Folder, withoutGuardUnder: options.PermitRoot))
            return;
        home.Lead(null);
        state.Change(s => s with { Adoption = null });
        LogForgotten(logger, note.Folder, note.Run);
    }

    /// <summary>What taking it over would meet; changes nothing of it.</summary>
    public async Task<AdoptSurvey> SurveyAsync(CancellationToken cancel)
    {
        await home.PrepareAsync(cancel);
        if (state.Current.Adoption is { Done: true } done)
            return new AdoptSurvey { Folder = done.Folder, Adopted = true };
        if (state.Current.Adoption is { } cut && IsDown)
        {
            return new AdoptSurvey
            {
                Folder = cut.Folder,
                Problems = [$"Its adoption by {cut.Run} was cut short after the stop. The agent ends it as soon as the server confirms epoch {cut.Epoch}; where that is another region's by now, the former files are in {FormerOf(cut)}."],
            };
        }
        if (Folder is not { } folder)
            return new AdoptSurvey { Problems = [$"The agent of {options.Region} was told of no PostgreSQL to adopt: start it with --adopt and the data directory."] };
        if (!IsPending)
            return new AdoptSurvey { Folder = folder, Problems = [$"{options.Region} has a database that BuildRunner made, in {home.Data}, already: start the agent without --adopt, or move that one away first."] };
        try
        {
            var (found, plan) = await LookAsync(cancel);
            if (plan.Problems.Count == 0)
                await TryAsync(found, NoteOf(found, "survey"), cancel);
            return new AdoptSurvey { Folder = folder, Problems = plan.Problems, Changes = plan.Changes, Notes = plan.Notes };
        }
        catch (InvalidOperationException error) { return new AdoptSurvey { Folder = folder, Problems = [error.Message] }; }
    }

    /// <summary>Takes it over, or ends what was cut short.</summary>
    /// <param name="order">The order of the run that it was consented to by; null: what is written down is ended.</param>
    /// <param name="cancel">Ends it at once; the next pass goes on.</param>
    public async Task<AdoptResult> TakeAsync(AdoptOrder? order, CancellationToken cancel)
    {
        if (state.Current.Adoption is { Done: true } done)
            return new AdoptResult(done.Folder, Effect: false, done.AwayMs);
        var assignment = Assignment;
        if (order is not null && (order.Epoch != assignment.Epoch || order.Database != assignment.Name))
            throw new OrderRefusedException($"{options.Region} is assigned epoch {assignment.Epoch} of {assignment.Name}, and the order is about epoch {order.Epoch} of {order.Database}: nothing was changed.");
        Forget();
        var note = state.Current.Adoption ?? await BeginAsync(order ?? throw new InvalidOperationException("Nobody has consented to an adoption."), cancel);
        double? away = null;
        if (!await IsGuardedAsync(note, cancel))
            away = await RestartAsync(note, cancel);
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

    /// <summary>What is to come, of each run its own: a look does not change what another one begins with.</summary>
    private string BesideOf(AdoptionNote note) => Path.Combine(home.Folder, "adopting", note.Run);

    /// <summary>A folder each run, so that none takes the originals away.</summary>
    private string FormerOf(AdoptionNote note) => Path.Combine(home.Folder, "before-adoption", note.Run);

    private async Task<(FoundServer Found, AdoptionPlan Plan)> LookAsync(CancellationToken cancel)
    {
        var assignment = Assignment;
        var found = await reader.ReadAsync(Folder!, assignment, cancel);
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

    /// <summary>
    /// Looks once more, has PostgreSQL itself read what it would be started with, keeps what is there, and has what the stop would write written while everybody
    /// goes on. Only then is it written down that it begins: the stop follows at once.
    /// </summary>
    private async Task<AdoptionNote> BeginAsync(AdoptOrder order, CancellationToken cancel)
    {
        if (!IsPending)
            throw new OrderRefusedException($"{options.Region} has nothing to adopt: its agent was started without --adopt, or has a database already.");
        if (home.HasData && await guard.StatusAsync(cancel) is { Running: true })
            throw new OrderRefusedException($"A new database that was begun in {home.Data} runs under a guard: end that one first (`br guard` in `ps`).");
        if (Directory.Exists(options.PermitRoot) && !AgentNative.IsTmpfs(options.PermitRoot))
            throw new OrderRefusedException($"{options.PermitRoot} is not in memory (tmpfs): a permit there would survive a restart of the machine.");
        if (FencedAt() is { } fenced && fenced >= order.Epoch)
            throw new OrderRefusedException($"{options.Region} is fenced at epoch {fenced}: a PostgreSQL is adopted there at a higher one only.");
        var (found, plan) = await LookAsync(cancel);
        if (plan.Problems.Count > 0)
            throw new OrderRefusedException(string.Join(" ", plan.Problems));
        var note = NoteOf(found, order.Run);
        await TryAsync(found, note, cancel);
        if (!note.Primary)
            await driver.MakeSlotAsync(Assignment, cancel);
        await KeepFormerAsync(note, cancel);
        await CheckpointAsync(found, cancel);
        if (Assignment.Epoch != order.Epoch || state.Current.SeenEpoch > order.Epoch || !AdoptionReader.Serves(found.Folder, options.PermitRoot))
            throw new OrderRefusedException($"While the checkpoint was written another epoch began in {options.Region}, or PostgreSQL ended: nothing was changed.");
        state.Change(s => s with { Adoption = note });
        LogBegun(logger, found.Folder, order.Run);
        return note;
    }

    private long? FencedAt() => File.Exists(home.FenceFile) ? JsonSerializer.Deserialize(File.ReadAllBytes(home.FenceFile), GuardJson.Default.FenceFile)?.Epoch : null;

    private AdoptionNote NoteOf(FoundServer found, string run) => new(
        found.Folder, run, Assignment.Epoch, !found.Said.InRecovery, AdoptionFiles.Listen(found.Said.Listen, options.Host), AdoptionFiles.Sockets(found.Said.Sockets),
        AdoptionPlan.IsElsewhere(found) ? found.Said.ConfigFile : null);

    /// <summary>Writes the new configuration beside, and has it read by the very program that will, while the server runs on.</summary>
    private async Task TryAsync(FoundServer found, AdoptionNote note, CancellationToken cancel)
    {
        var beside = BesideOf(note);
        account.MakeFolder(Path.GetDirectoryName(beside)!);
        account.MakeFolder(beside);
        account.Write(Path.Combine(beside, "postgresql.user.conf"), AdoptionFiles.Settings(found.Said));
        account.Write(Path.Combine(beside, "pg_hba.user.conf"), await File.ReadAllBytesAsync(found.Said.HbaFile, cancel));
        account.Write(Path.Combine(beside, "pg_ident.user.conf"), await File.ReadAllBytesAsync(found.Said.IdentFile, cancel));
        var permitted = PostgresConfig.Main(options, beside, new PostgresDoors(note.Listen, note.Sockets)).Split('\n').Where(l => !l.Contains("permit.conf", StringComparison.Ordinal));
        var config = Path.Combine(beside, "postgresql.conf");
        account.Write(config, string.Join('\n', permitted));
        var tried = await tools.RunAsync("postgres", ["-D", found.Folder, "-C", "max_connections", "-c", $"config_file={config}"], "/", cancel);
        if (tried.Code != 0)
            throw new OrderRefusedException($"PostgreSQL would not start with its settings as they were found: {ErrorClause.Of(tried.Talk)}. They are in {config} and beside it; nothing was changed.");
    }

    private async Task KeepFormerAsync(AdoptionNote note, CancellationToken cancel)
    {
        var folder = FormerOf(note);
        account.MakeFolder(Path.GetDirectoryName(folder)!);
        account.MakeFolder(folder);
        foreach (var name in Files.Where(n => File.Exists(Path.Combine(note.Folder, n))))
            account.Write(Path.Combine(folder, name), await File.ReadAllBytesAsync(Path.Combine(note.Folder, name), cancel));
        if (note.ConfigFile is { } config)
            account.Write(Path.Combine(folder, Outside), await File.ReadAllBytesAsync(config, cancel));
    }

    private async Task CheckpointAsync(FoundServer found, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(CheckpointMax);
        try
        {
            for (var checkpoint = 0; checkpoint < 2; checkpoint++)
                await tools.MustRunAsync("psql", ["-X", "-q", "-w", "-h", AdoptionFiles.Sockets(found.Said.Sockets)[0], "-p", found.Port.ToString(CultureInfo.InvariantCulture), "-U", "postgres", "-d", "postgres", "-c", "checkpoint"], "/", limit.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new InvalidOperationException($"Its checkpoint was not written within {CheckpointMax.TotalMinutes:F0} min; nothing was changed. Try again when it has less to write.");
        }
    }

    /// <summary>How long it did not answer, in milliseconds; null: it was down before.</summary>
    private async Task<double?> RestartAsync(AdoptionNote note, CancellationToken cancel)
    {
        var ran = AdoptionReader.ProcessIn(note.Folder) is not null;
        var started = Stopwatch.GetTimestamp();
        try
        {
            // Not cut short by the agent's own end: PostgreSQL would stay down until the next one.
            if (ran)
                await StopAsync(note, CancellationToken.None);
            if (AdoptionReader.Strangers(note.Folder, postmaster: null) is [var left, ..])
                throw new InvalidOperationException($"{left} is left in {note.Folder} after PostgreSQL's stop.");
            await PlaceAsync(note, CancellationToken.None);
            await driver.StartAsync(standby: !note.Primary, CancellationToken.None);
            // Whoever started it before may have been quicker than we.
            if (!await ComesUnderGuardAsync(note, CancellationToken.None))
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

    private async Task StopAsync(AdoptionNote note, CancellationToken cancel)
    {
        var fast = await tools.RunAsync("pg_ctl", ["stop", "-D", note.Folder, "-m", "fast", "-w", "-t", $"{FastSeconds}"], "/", cancel);
        if (fast.Code != 0 && AdoptionReader.ProcessIn(note.Folder) is not null)
            await tools.MustRunAsync("pg_ctl", ["stop", "-D", note.Folder, "-m", "immediate", "-w", "-t", $"{ImmediateSeconds}"], "/", cancel);
    }

    private async Task PlaceAsync(AdoptionNote note, CancellationToken cancel)
    {
        if (state.Current.Initialising || !home.HasData)
            home.Clear(); // begun by an agent that had not been told yet, and never used
        home.Lead(note.Folder);
        foreach (var name in Carried)
            account.Write(Path.Combine(note.Folder, name), await File.ReadAllBytesAsync(Path.Combine(BesideOf(note), name), cancel));
        if (Path.Combine(note.Folder, "postgresql.auto.conf") is var automatic && File.Exists(automatic))
            account.Write(automatic, Encoding.Latin1.GetBytes(AdoptionFiles.Automatic(await File.ReadAllTextAsync(automatic, Encoding.Latin1, cancel)))); // byte for byte, whatever they are
        // Written over, not replaced: owner and rights stay. What is cut off in the middle starts nothing, which is the line's purpose.
        if (note.ConfigFile is { } config)
            await File.WriteAllTextAsync(config, AdoptionFiles.Closed(await File.ReadAllTextAsync(Path.Combine(FormerOf(note), Outside), Encoding.Latin1, cancel)), Encoding.Latin1, cancel);
        driver.Sync(""); // whom commits wait for is told when it is this house's
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
            var former = FormerOf(note);
            foreach (var name in Files)
            {
                var (before, now) = (Path.Combine(former, name), Path.Combine(note.Folder, name));
                if (File.Exists(before))
                    account.Write(now, await File.ReadAllBytesAsync(before));
                else
                    File.Delete(now);
            }
            if (note.ConfigFile is { } config)
                await File.WriteAllBytesAsync(config, await File.ReadAllBytesAsync(Path.Combine(former, Outside)));
            var other = AdoptionReader.ProcessIn(note.Folder) is not null;
            if (!other)
            {
                // With the arguments that it was started with, which postmaster.opts keeps.
                var log = Path.Combine(former, "postgres.log");
                var started = await tools.RunAsync("pg_ctl", ["restart", "-D", note.Folder, "-w", "-t", "60", "-l", log], "/", CancellationToken.None);
                if (started.Code != 0 && AdoptionReader.ProcessIn(note.Folder) is null)
                    throw new InvalidOperationException($"pg_ctl ended with {started.Code} ({ErrorClause.Of(started.Talk)}); its words are in {log}");
            }
            state.Change(s => s with { Adoption = null });
            LogGivenBack(logger, note.Folder);
            if (other)
                return "Something else has started PostgreSQL there already; its files are as they were";
            return "PostgreSQL was started again as it was, without a guard and by the agent: whoever started it before holds it for stopped";
        }
        catch (Exception error) when (error is InvalidOperationException or IOException or Win32Exception or UnauthorizedAccessException or TimeoutException)
        {
            LogNotGivenBack(logger, note.Folder, error.Message);
            return $"And it could not be started as it was: {ErrorClause.Of(error)}. Its former files are in {FormerOf(note)}";
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "The PostgreSQL in {Folder} is being adopted, as {Run} consents to: it is restarted once under the guard.")]
    private static partial void LogBegun(ILogger logger, string folder, string run);

    [LoggerMessage(Level = LogLevel.Information, Message = "The PostgreSQL in {Folder} serves as it did: what {Run} had begun of its adoption is void.")]
    private static partial void LogForgotten(ILogger logger, string folder, string run);

    [LoggerMessage(Level = LogLevel.Information, Message = "The PostgreSQL in {Folder} was adopted as the {Role} of epoch {Epoch}; it was away for {Milliseconds} ms.")]
    private static partial void LogAdopted(ILogger logger, string folder, string role, long epoch, double milliseconds);

    [LoggerMessage(Level = LogLevel.Error, Message = "The PostgreSQL in {Folder} was not adopted: {Reason}.")]
    private static partial void LogFailed(ILogger logger, string folder, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The PostgreSQL in {Folder} runs again as it was, without a guard.")]
    private static partial void LogGivenBack(ILogger logger, string folder);

    [LoggerMessage(Level = LogLevel.Critical, Message = "The PostgreSQL in {Folder} is down, and could not be started as it was: {Reason}")]
    private static partial void LogNotGivenBack(ILogger logger, string folder, string reason);
}
