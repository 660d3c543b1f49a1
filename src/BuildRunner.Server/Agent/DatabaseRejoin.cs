using BuildRunner.Client.Databases;
using BuildRunner.Core.Databases;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>Makes a standby of data that was a primary's or that diverged. What was written past the fork is saved and counted first.</summary>
internal sealed partial class DatabaseRejoin(
    AgentOptions options, AgentStateFile state, PostgresHome home, PostgresAccount account, PostgresDriver driver, PostgresTools tools,
    SalvageKeeper salvage, ILogger<DatabaseRejoin> logger)
{
    /// <summary>How often a standby that has not diverged is set anew to follow before it is copied anew.</summary>
    private const int PatienceMax = 6;
    private int _patience;

    /// <summary>What the primary says of itself.</summary>
    private sealed record Source(int Timeline, string History, long? Marker, string? FormerMarkerRegion, bool SlotLost);

    /// <summary>A fresh copy in place of what is here; not started.</summary>
    public async Task CopyAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        await driver.StopAsync(cancel);
        await driver.CopyAsync(assignment, cancel);
        driver.Follow(assignment);
        driver.Configure(standby: true);
        Settle(assignment);
    }

    /// <summary>True when a standby is ready to be started; false: nothing was changed, look again later.</summary>
    public async Task<bool> RejoinAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        var former = state.Current.PrimaryEpoch;
        if (await AskAsync(assignment, former, cancel) is not { } source || source.Marker != assignment.Epoch)
            return false; // the primary is not there yet: that is no proof of anything about us

        var timeline = home.Timeline();
        var fork = Fork(assignment, source, former, timeline);
        if (former is null && home.IsStandby && !await IsDivergedAsync(source, fork, timeline, cancel))
        {
            if (!source.SlotLost && ++_patience < PatienceMax)
            {
                await driver.MakeSlotAsync(assignment, cancel);
                driver.Follow(assignment);
                await driver.ReloadAsync(cancel);
                return false;
            }
            LogCopy(logger, source.SlotLost ? "the primary no longer has the WAL that is missing here" : "the stream does not begin though the primary answers");
            await CopyAsync(assignment, cancel);
            return true;
        }

        await driver.StopAsync(cancel);
        var saved = fork is { } at ? await salvage.SalvageAsync(former ?? assignment.FormerEpoch ?? assignment.Epoch - 1, at, cancel) : null;
        if (saved is not null)
        {
            state.Change(s => s with { Salvage = saved });
            LogSalvaged(logger, saved.Commits, saved.Bytes, saved.Fork, saved.Folder);
        }

        if (fork is null || source.Timeline == timeline || (former is not null && source.FormerMarkerRegion != options.Region))
        {
            // The number of a timeline does not name it, the marker does: a rewind would be fooled.
            LogCopy(logger, "the primary does not know the timeline here");
            await CopyAsync(assignment, cancel);
            return true;
        }
        if (saved is null)
        {
            LogFollows(logger, fork.Value);
            Prepare(assignment);
            return true;
        }
        if (!await RewindAsync(assignment, cancel))
            await CopyAsync(assignment, cancel);
        return true;
    }

    private static Lsn? Fork(DatabaseAssignment assignment, Source source, long? former, int timeline) =>
        TimelineHistory.LeftAt(source.History, timeline) ?? (former is not null && assignment.FormerEpoch == former ? assignment.Fork : null);

    /// <summary>A standby that holds WAL past the point where its timeline was left, or is on one that the primary does not know.</summary>
    private async Task<bool> IsDivergedAsync(Source source, Lsn? fork, int timeline, CancellationToken cancel) =>
        timeline != source.Timeline && (fork is not { } at || await salvage.EndAsync(at, cancel) > at);

    private async Task<bool> RewindAsync(DatabaseAssignment assignment, CancellationToken cancel)
    {
        driver.WritePasswordFile();
        var to = driver.Map(assignment);
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
            Rebuilding = false,
            Initialising = false,
            Following = DatabasePlanner.Target(assignment),
        });
    }

    private async Task<Source?> AskAsync(DatabaseAssignment assignment, long? former, CancellationToken cancel)
    {
        try
        {
            var sql = driver.Primary(assignment, "postgres");
            if (await sql.ScalarAsync<bool>("select pg_is_in_recovery()", cancel))
                return null;
            var timeline = int.Parse((await sql.ScalarAsync<string>("select pg_walfile_name(pg_current_wal_insert_lsn())", cancel) ?? "0").AsSpan(0, 8), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
            var history = timeline == 1 ? "" : await sql.ScalarAsync<string>($"select convert_from(pg_read_binary_file('pg_wal/{TimelineHistory.FileName(timeline)}'), 'UTF8')", cancel) ?? "";
            var lost = await sql.ScalarAsync<string>($"select wal_status from pg_replication_slots where slot_name = {PostgresSql.Quote(driver.Slot)}", cancel) == "lost";
            var markers = driver.Primary(assignment, assignment.DatabaseName);
            var marker = await markers.ScalarAsync<long?>("select max(epoch) from buildrunner.epoch", cancel);
            var region = former is null ? null : await markers.ScalarAsync<string>(string.Create(CultureInfo.InvariantCulture, $"select region from buildrunner.epoch where epoch = {former}"), cancel);
            return new(timeline, history, marker, region, lost);
        }
        catch (Exception error) when (error is NpgsqlException or TimeoutException)
        {
            LogAway(logger, assignment.Primary, error.Message);
            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Saved {Commits} commits ({Bytes} bytes of WAL) past the fork {Fork} to {Folder}.")]
    private static partial void LogSalvaged(ILogger logger, long commits, long bytes, Lsn fork, string folder);

    [LoggerMessage(Level = LogLevel.Information, Message = "Nothing was written past the fork {Fork}: it follows as it is.")]
    private static partial void LogFollows(ILogger logger, Lsn fork);

    [LoggerMessage(Level = LogLevel.Information, Message = "A fresh copy is made: {Reason}.")]
    private static partial void LogCopy(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The rewind failed, a fresh copy is made: {Talk}")]
    private static partial void LogRewindFailed(ILogger logger, string talk);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Primary} was asked how to rejoin and did not answer: {Reason}")]
    private static partial void LogAway(ILogger logger, string? primary, string reason);
}
