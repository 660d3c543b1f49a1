using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using BuildRunner.Client.Events;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Storage;

/// <summary>A real server process takes writes, is really killed, and has to have kept all that it acknowledged.</summary>
public sealed class KillTests(ITestOutputHelper output)
{
    private const int Rounds = 5;
    private const int Writers = 8;

    [Fact(Timeout = 180_000)]
    public async Task KilledAtARandomMoment_EveryAcknowledgedWriteIsThere()
    {
        var cancel = TestContext.Current.CancellationToken;
        var seed = int.TryParse(Environment.GetEnvironmentVariable("BR_TEST_SEED"), out var given) ? given : Random.Shared.Next();
        output.WriteLine($"BR_TEST_SEED={seed}");
        var random = new Random(seed);
        using var folder = new TempFolder();
        var acknowledged = new HashSet<string>();
        for (var round = 0; round < Rounds; round++)
        {
            var kill = random.Next(1, 400);
            var (process, address) = await StartAsync(folder.Path, cancel);
            try
            {
                var token = (await File.ReadAllTextAsync(folder.File("token"), cancel)).Trim();
                using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = address };
                http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
                var count = 0;
                await Task.WhenAll(Enumerable.Range(0, Writers).Select(async writer =>
                {
                    for (var i = 0; ; i++)
                    {
                        var entry = $"{round}.{writer}.{i}";
                        try
                        {
                            using var answer = await http.PostAsync("/v1/events", JsonContent.Create(new EventNote { Summary = entry }, EventsJson.Default.EventNote), cancel);
                            if (!answer.IsSuccessStatusCode)
                                return;
                        }
                        catch (HttpRequestException) { return; } // killed
                        lock (acknowledged)
                            acknowledged.Add(entry);
                        if (Interlocked.Increment(ref count) == kill)
                            process.Kill(); // SIGKILL, while the other writers are under way
                    }
                }));
            }
            finally
            {
                process.Kill();
                await process.WaitForExitAsync(cancel);
                process.Dispose();
            }

            using var store = SqliteStore.Open(folder.File(StorageRoom.FileName), TimeProvider.System, NullLogger.Instance);
            var kept = new List<string>();
            for (var after = 0L; await store.ReadAsync("events", after, 1000, cancel) is { Count: > 0 } records; after = records[^1].Position)
            {
                Assert.Equal(Enumerable.Range(1, records.Count).Select(i => after + i), records.Select(record => record.Position));
                kept.AddRange(records.Select(record => JsonDocument.Parse(record.Value).RootElement).Where(row => row.GetProperty("kind").ValueEquals("note")).Select(row => row.GetProperty("summary").GetString()!));
            }
            output.WriteLine($"round {round}: killed after {kill} acknowledged writes; {acknowledged.Count} acknowledged in all, {kept.Count} kept");
            Assert.Empty(acknowledged.Except(kept));
            Assert.Equal(kept.Count, kept.Distinct().Count());
        }
    }

    private static async Task<(Process Process, Uri Address)> StartAsync(string folder, CancellationToken cancel)
    {
        var process = Process.Start(new ProcessStartInfo(BrExecutable.Path, ["server", "--data", folder, "--listen", "127.0.0.1:0", "--watch-stdin"])
        {
            RedirectStandardInput = true, // closes when the test process ends, however it ends
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        process.ErrorDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
        var ready = await process.StandardOutput.ReadLineAsync(cancel) ?? throw new InvalidOperationException("The server ended before it was ready.");
        return (process, new Uri(ready.Split(' ').First(word => word.StartsWith("http://", StringComparison.Ordinal)).TrimEnd(',')));
    }
}
