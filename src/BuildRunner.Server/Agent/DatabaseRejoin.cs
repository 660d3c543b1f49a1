using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>Makes a standby of data that was a primary's or that diverged. What was written past the fork is saved and counted first.</summary>
internal sealed partial class DatabaseRejoin(
    AgentOptions options, AgentStateFile state, PostgresHome home, PostgresAccount account, PostgresDriver driver, PostgresTools tools,
    SalvageKeeper salvage, TimeProvider time, ILogger<DatabaseRejoin> logger)
{
    /// <summary>How often a standby that has not diverged is set anew to follow before it is copied anew.</summary>
    private const int PatienceMax = 6;
    private readonly Damper _away = new(time);
    private int _patience;

    /// <summary>What the primary says of itself.</summary>
    private sealed record Source(string System, int Timeline, string History, long? Marker, string? FormerMarkerRegion, bool WalGone);

    /// <summary>What is being done now, for people; null: nothing.</summary>
    public string? Doing { get; private set; }

    /// <summary>The standby comes nearer or streams: patience begins anew.</summary>
    public void Healthy() => _patience = 0;

    /// <summary>A fresh copy in place of what is here; not started.</summary>
    public async Task CopyAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        try
        {
            if (Former is { } former && state.Current.Salvage?.Epoch != former)
            {
                var gone = new SalvageReading { Epoch = former, Folder = home.Salvage, Unreadable = "the data was gone before its WAL was read" };
                state.Change(s => s with { Salvage = gone });
                LogUnreadable(logger, former, gone.Unreadable);
            }
            await ReplaceAsync(assignment, cancel);
        }
        finally { Doing = null; }
    }

    /// <summary>True when a standby is ready to be started; false: nothing was changed, look again later.</summary>
    public async Task<bool> RejoinAsync(DatabaseAssignment assignment, Lsn? replayed, CancellationToken cancel)
    {
        try { return await DoRejoinAsync(assignment, replayed, cancel); }
        finally { Doing = null; }
    }

    /// <summary>Epoch whose primary's data lies here, or may: a promotion that was cut short may have begun a timeline.</summary>
    private long? Former => state.Current.PrimaryEpoch ?? state.Current.Promoting;

    private async Task<bool> DoRejoinAsync(DatabaseAssignment assignment, Lsn? replayed, CancellationToken cancel)
    {
        var former = Former;
        Doing = $"asks {assignment.Primary} how to rejoin";
        if (await AskAsync(assignment, former, replayed, cancel) is not { } source || source.Marker != assignment.Epoch)
            return false; // the primary is not there yet: that is no proof of anything about us
        _away.Reset();
        if (source.System != home.SystemIdentifier())
            throw new InvalidOperationException($"{assignment.Primary} holds another database (system {source.System}) than this host (system {home.SystemIdentifier()}): nothing here is replaced. When this copy is not wanted any more, move {home.Data} away");

        var timeline = home.Timeline();
        var fork = Fork(assignment, source, former, timeline);
        if (former is null && home.IsStandby && !await IsDivergedAsync(source, fork, timeline, replayed, cancel))
        {
            if (!source.WalGone && ++_patience < PatienceMax)
            {
                await driver.MakeSlotAsync(assignment, cancel);
                driver.Follow(assignment);
                await driver.ReloadAsync(cancel);
                return false;
            }
            LogCopy(logger, source.WalGone ? "the primary no longer has the WAL that is missing here" : "the stream does not begin though the primary answers");
            await ReplaceAsync(assignment, cancel);
            return true;
        }

        await driver.StopAsync(cancel);
        await driver.WaitForGuardAsync(cancel); // what was killed in the middle of a write to the WAL has ended
        Doing = "saves and counts what was written past the fork";
        var saved = former is not null || fork is not null ? await salvage.SalvageAsync(former ?? assignment.FormerEpoch ?? assignment.Epoch - 1, fork, cancel) : null;
        // PostgreSQL itself is believed before the tool: nothing is said to be nothing while a start has replayed more.
        if (saved is { Bytes: 0 } && replayed > fork)
            saved = saved with { End = null, Commits = null, Unreadable = $"PostgreSQL has replayed up to {replayed} here, and pg_waldump shows nothing past {fork} ({saved.Said ?? "it said nothing"})" };
        if (saved is not null)
        {
            state.Change(s => s with { Salvage = saved });
            if (saved.Unreadable is { } why)
                LogUnreadable(logger, saved.Epoch, why);
            else if (saved.Bytes > 0)
                LogSalvaged(logger, saved.Commits ?? 0, saved.Bytes ?? 0, fork ?? default, saved.Folder);
        }

        if (fork is not { } at || source.Timeline == timeline || (former is not null && source.FormerMarkerRegion != options.Region))
        {
            // The number of a timeline does not name it, the marker does: a rewind would be fooled.
            LogCopy(logger, "the primary does not know the timeline here");
            await ReplaceAsync(assignment, cancel);
            return true;
        }
        if (saved is { Bytes: 0 })
        {
            LogFollows(logger, at);
            await driver.MakeSlotAsync(assignment, cancel);
            Prepare(assignment);
            return true;
        }
        if (saved is not { Unreadable: null } || !await RewindAsync(assignment, cancel))
            await ReplaceAsync(assignment, cancel);
        return true;
    }

    private async Task ReplaceAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        Doing = $"copies {assignment.Primary}";
        await driver.StopAsync(cancel);
        // From the moment that the old data is being taken away, what lies here is no database until the copy is in its place.
        await driver.CopyAsync(assignment, () => state.Change(s => s with { Rebuilding = true }), cancel);
        driver.Follow(assignment);
        driver.Configure(standby: true);
        Settle(assignment);
    }

    private static Lsn? Fork(DatabaseAssignment assignment, Source source, long? former, int timeline) =>
        TimelineHistory.LeftAt(source.History, timeline) ?? (former is not null && assignment.FormerEpoch == former ? assignment.Fork : null);

    /// <summary>A standby that holds WAL past the point where its timeline was left, or is on one that the primary does not know.</summary>
    private async Task<bool> IsDivergedAsync(Source source, Lsn? fork, int timeline, Lsn? replayed, CancellationToken cancel) =>
        timeline != source.Timeline && (fork is not { } at || replayed > at || await salvage.EndAsync(at, cancel) > at);

    private async Task<bool> RewindAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        Doing = "pg_rewind runs";
        driver.WritePasswordFile();
        var to = driver.Map(assignment);
        await driver.WaitForGuardAsync(cancel);
        // Its own recovery is done by a PostgreSQL without connections, which needs the permit and no standby.signal.
        var permitFolder = driver.Configure(standby: false);
        var permit = Path.Combine(permitFolder, "permit.conf");
        state.Change(s => s with { Rebuilding = true });
        await driver.Primary(assignment, "postgres").ExecuteAsync("checkpoint", cancel);
        account.Write(permit, "# For the recovery before a rewind.\n");
        try
        {
            var result = await tools.RunAsync("pg_rewind",
                ["-D", home.Data, "--source-server", PostgresConfig.Connection(to.Host, to.Port, options.Region, home.PasswordFile, "postgres")], home.Folder, cancel);
            if (result.Code != 0)
            {
                LogRewindFailed(logger, result.Talk);
                return false;
            }
        }
        finally { File.Delete(permit); }
        Doing = null;
        await driver.MakeSlotAsync(assignment, cancel);
        Prepare(assignment);
        return true;
    }

    private void Prepare(DatabaseAssignment assignment)
    {
        // Slots are of the host that the files came from, or of a former life.
        foreach (var slot in Directory.EnumerateDirectories(Path.Combine(home.Data, "pg_replslot")))
            Directory.Delete(slot, recursive: true);
        driver.Follow(assignment);
        driver.Configure(standby: true);
        driver.Sync(assignment.Sync ?? "");
        Settle(assignment);
    }

    private void Settle(DatabaseAssignment assignment)
    {
        _patience = 0;
        state.Change(s => s with
        {
            PrimaryEpoch = null,
            Promoting = null,
            CutEpoch = null,
            CutRun = null,
            Rebuilding = false,
            Initialising = false,
            Following = DatabasePlanner.Target(assignment),
        });
    }

    private async Task<Source?> AskAsync(DatabaseAssignment assignment, long? former, Lsn? replayed, CancellationToken cancel)
    {
        try
        {
            // The right to read files was granted in the database postgres, the markers lie in the application's.
            await using var open = await driver.Primary(assignment, "postgres").OpenAsync(cancel);
            if (await open.ScalarAsync<bool>("select pg_is_in_recovery()", cancel))
                return null;
            var timeline = TimelineHistory.NumberOf(await open.ScalarAsync<string>("select pg_walfile_name(pg_current_wal_insert_lsn())", cancel) ?? throw new InvalidOperationException("PostgreSQL named no WAL file."));
            var history = timeline == 1 ? "" : await open.ScalarAsync<string>($"select convert_from(pg_read_binary_file('pg_wal/{TimelineHistory.FileName(timeline)}'), 'UTF8')", cancel) ?? "";
            // The slot keeps the WAL for us, unless it was lost, or made anew after the WAL had gone.
            var gone = await open.ScalarAsync<string>($"select wal_status from pg_replication_slots where slot_name = {PostgresSql.Quote(driver.Slot)}", cancel) == "lost"
                || (replayed is { } at && !await open.ScalarAsync<bool>($"select exists (select from pg_ls_dir('pg_wal', false, false) as f where right(f, 16) = '{home.Wal.FileName(0, home.Wal.Segment(at))[8..]}')", cancel));
            await using var markers = await driver.Primary(assignment, assignment.DatabaseName).OpenAsync(cancel);
            var marker = await markers.ScalarAsync<long?>("select max(epoch) from buildrunner.epoch", cancel);
            var region = former is null ? null : await markers.ScalarAsync<string>(string.Create(CultureInfo.InvariantCulture, $"select region from buildrunner.epoch where epoch = {former}"), cancel);
            return new(await open.ScalarAsync<string>("select system_identifier::text from pg_control_system()", cancel) ?? "", timeline, history, marker, region, gone);
        }
        catch (Exception error) when (error is NpgsqlException or TimeoutException)
        {
            if (_away.Lets(ErrorClause.Of(error)))
                LogAway(logger, assignment.Primary, ErrorClause.Of(error));
            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Saved {Commits} commits ({Bytes} bytes of WAL) past the fork {Fork} to {Folder}.")]
    private static partial void LogSalvaged(ILogger logger, long commits, long bytes, Lsn fork, string folder);

    [LoggerMessage(Level = LogLevel.Error, Message = "What epoch {Epoch} wrote past the fork cannot be counted, and the loss stays unknown: {Reason}.")]
    private static partial void LogUnreadable(ILogger logger, long epoch, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Nothing was written past the fork {Fork}: it follows as it is.")]
    private static partial void LogFollows(ILogger logger, Lsn fork);

    [LoggerMessage(Level = LogLevel.Information, Message = "A fresh copy is made: {Reason}.")]
    private static partial void LogCopy(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The rewind failed, a fresh copy is made: {Talk}")]
    private static partial void LogRewindFailed(ILogger logger, string talk);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Primary} was asked how to rejoin and did not answer: {Reason}")]
    private static partial void LogAway(ILogger logger, string? primary, string reason);
}
