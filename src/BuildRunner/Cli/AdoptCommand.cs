using System.CommandLine;
using BuildRunner.Client.Recovery;
using BuildRunner.Server.Recovery.BreakGlass;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br server adopt FOLDER`: the server takes over what was done without it.</summary>
internal static class AdoptCommand
{
    private static readonly Argument<string> Journal = new("folder") { Description = "Folder of the journal that `br dr failover --without-server` named" };

    public static Command Build() => new Command("adopt", "Have the server take over what `br dr failover --without-server` did while it was gone") { Journal }.Does(async context =>
    {
        var bundle = await ReadAsync(context.Parse.GetRequiredValue(Journal), context.Cancel);
        var answer = await context.Api().AdoptAsync(bundle, context.Cancel);
        await HandOverAsync(context.Parse.GetRequiredValue(Journal));
        context.Print(answer, AdoptionJson.Default.AdoptionAnswer, Table);
        return ExitCode.Fine;
    });

    /// <summary>From now on it is history: the next failover without the server begins a journal of its own.</summary>
    private static async Task HandOverAsync(string path)
    {
        using var store = SqliteStore.Open(FileOf(path), TimeProvider.System, NullLogger.Instance);
        await StandInJournal.HandOverAsync(store, DateTimeOffset.UtcNow, CancellationToken.None);
    }

    private static string FileOf(string path) => Path.GetFullPath(Directory.Exists(path) ? Path.Combine(path, StorageRoom.FileName) : path);

    /// <summary>The store's lock shows that whoever wrote it has ended, also when it was cut off.</summary>
    private static async Task<AdoptionBundle> ReadAsync(string path, CancellationToken cancel)
    {
        var file = FileOf(path);
        if (!File.Exists(file))
            throw new CliException(ExitCode.Usage, $"There is no journal at {file}. `br dr failover --without-server` said in which folder it keeps it.");
        try
        {
            using var store = SqliteStore.Open(file, TimeProvider.System, NullLogger.Instance);
            var start = await StandInJournal.StartAsync(store, cancel) ?? throw new CliException(ExitCode.Usage, $"{file} is a store, and no journal of a failover without the server.");
            if (!await StandInJournal.HasEndedAsync(store, cancel) && start.Host == Environment.MachineName)
                await StandInJournal.CloseAsync(store, DateTimeOffset.UtcNow, cancel);
            return await StandInJournal.ReadAsync(store, Path.GetDirectoryName(file)!, cancel);
        }
        catch (StoreException error) { throw new CliException(ExitCode.Failed, error.Message); }
    }

    private static void Table(IAnsiConsole console, AdoptionAnswer answer)
    {
        foreach (var record in answer.Records)
            console.MarkupLine($"[bold]{Markup.Escape(record.Database)}[/]: {Markup.Escape(record.Primary)} is the primary, epoch {record.Epoch} {record.State.ToString().ToLowerInvariant()}.");
        foreach (var run in answer.Runs)
            console.WriteLine(run.FinishedAt is null ? $"{run.Id} had not ended; the server goes on with it: br runbook status {run.Id}" : $"{run.Id} is {run.State.ToString().ToLowerInvariant()}: br runbook status {run.Id}");
        console.WriteLine(answer.Already ? "The server had adopted this journal before; nothing is new." : "Adopted. The server acts again.");
    }
}
