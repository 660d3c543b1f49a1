using BuildRunner.Tests.Support;

namespace BuildRunner.Bench;

/// <summary>Takes each system through its cases, one system at a time, so that nobody takes another's cores.</summary>
internal sealed class RecoveryBench(IReadOnlyList<BenchGroup> groups, string file)
{
    private readonly List<BenchResult> _results = [];
    private readonly Progress _progress = new(groups.Sum(group => group.Cases.Sum(c => c.Runs)));

    /// <summary>The report also when interrupted; after every run it stands in the file.</summary>
    public async Task<BenchReport> RunAsync(CancellationToken cancel)
    {
        var versions = await Machine.VersionsAsync(Path.Combine(Repository.Root, "artifacts/br/br"));
        BenchReport Report(bool complete) => new() { At = DateTimeOffset.UtcNow, Versions = versions, Results = [.. _results], Complete = complete };
        var complete = true;
        foreach (var group in groups)
        {
            try { await GroupAsync(group, () => File.WriteAllText(file, Report(false).ToJson()), cancel); }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested)
            {
                complete = false;
                break;
            }
            catch (Exception error) when (error is BenchException or InvalidOperationException or Npgsql.NpgsqlException or TimeoutException or IOException)
            {
                complete = false;
                Console.Error.WriteLine($"\nbench/recovery: {error.Message}");
            }
        }
        var report = Report(complete && _results.All(result => result.Runs.All(run => run.Trouble is null)));
        await File.WriteAllTextAsync(file, report.ToJson(), CancellationToken.None);
        return report;
    }

    /// <summary>A system that does not come back from a case is made anew for the next one; what it was measured at stays.</summary>
    private async Task GroupAsync(BenchGroup group, Action saved, CancellationToken cancel)
    {
        Exception? trouble = null;
        var left = new Queue<(RecoveryCase What, int Runs)>(group.Cases);
        while (left.Count > 0)
        {
            _progress.At($"{group.System}, {group.Settings}");
            _progress.Say("starting");
            await using var system = group.System == BenchPlan.Peer ? (IMeasuredSystem)new PatroniSystem(PatroniSettings.Of(group.Settings)) : new BuildRunnerSystem(group.Settings);
            try
            {
                await system.StartAsync(cancel);
                while (left.TryPeek(out var next))
                {
                    await CaseAsync(system, group, next.What, next.Runs, saved, cancel);
                    left.Dequeue();
                }
            }
            catch (Exception error) when (error is BenchException or InvalidOperationException or Npgsql.NpgsqlException or TimeoutException or IOException)
            {
                KeepLogs(system);
                trouble = error;
                var (failed, _) = left.Dequeue();
                if (left.Count > 0)
                    Console.Error.WriteLine($"\nbench/recovery: {group.System}, {group.Settings}, {BenchPlan.NameOf(failed)}: {error.Message}\nbench/recovery: it is made anew for the next case");
            }
        }
        if (trouble is not null)
            throw new BenchException(trouble.Message);
    }

    private async Task CaseAsync(IMeasuredSystem system, BenchGroup group, RecoveryCase what, int runs, Action saved, CancellationToken cancel)
    {
        var done = new List<BenchRun>();
        for (var run = 1; run <= runs; run++)
        {
            _progress.At($"{group.System}, {group.Settings}, {BenchPlan.NameOf(what)} {run} of {runs}");
            var measured = await Measurement.RunAsync(system, what, _progress.Say, cancel);
            done.Add(measured);
            _results.RemoveAll(result => result.System == group.System && result.Settings == group.Settings && result.Case == BenchPlan.NameOf(what));
            _results.Add(new(group.System, group.Settings, BenchPlan.NameOf(what), system.SettingsInForce, [.. done]));
            saved();
            if (measured.Trouble is not null)
                KeepLogs(system);
            _progress.Done(string.Create(CultureInfo.InvariantCulture, $"outage {measured.OutageMs / 1000:0.00} s, {measured.Failed} failed, {measured.Lost} lost{(measured.Told is null ? "" : $", told: {measured.Told}")}{(measured.Trouble is null ? "" : $"; {measured.Trouble}")}"));
        }
    }

    /// <summary>Beside the results, before the folder that they lie in goes.</summary>
    private void KeepLogs(IMeasuredSystem system)
    {
        var to = Directory.CreateDirectory($"{Path.ChangeExtension(file, null)}-logs").FullName;
        foreach (var log in system.Logs)
            File.Copy(log, Path.Combine(to, $"{Path.GetFileName(Path.GetDirectoryName(log))}-{Path.GetFileName(log)}"), overwrite: true);
        Console.Error.WriteLine($"bench/recovery: the logs are in {to}");
    }
}
