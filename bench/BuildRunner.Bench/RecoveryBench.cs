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

    private async Task GroupAsync(BenchGroup group, Action saved, CancellationToken cancel)
    {
        _progress.At($"{group.System}, {group.Settings}");
        _progress.Say("starting");
        IMeasuredSystem system = group.System == BenchPlan.Peer ? new PatroniSystem(PatroniSettings.Of(group.Settings)) : new BuildRunnerSystem(group.Settings);
        await using (system)
        {
            try { await CasesAsync(system, group, saved, cancel); }
            catch (Exception error) when (error is not OperationCanceledException)
            {
                KeepLogs(system);
                throw;
            }
        }
    }

    private async Task CasesAsync(IMeasuredSystem system, BenchGroup group, Action saved, CancellationToken cancel)
    {
        await system.StartAsync(cancel);
        foreach (var (what, runs) in group.Cases)
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
