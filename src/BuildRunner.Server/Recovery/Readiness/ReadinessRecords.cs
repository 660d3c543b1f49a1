using System.Text.Json;
using BuildRunner.Client.Recovery;
using BuildRunner.Core.Recovery;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Recovery.Readiness;

/// <summary>The newest evaluation, in the store under `readiness`.</summary>
internal sealed class ReadinessRecords(IStore store)
{
    public const string Key = "readiness";

    public async Task<ReadinessReport?> GetAsync(CancellationToken cancel) =>
        await store.GetAsync(Key, cancel) is { } entry ? JsonSerializer.Deserialize(entry.Value.Span, ReadinessJson.Default.ReadinessReport) ?? throw new JsonException($"{Key} holds null.") : null;

    public Task<StoreWrite> PutAsync(ReadinessReport report, Fence fence, CancellationToken cancel) =>
        store.PutAsync(Key, JsonSerializer.SerializeToUtf8Bytes(report, ReadinessJson.Default.ReadinessReport), null, fence, cancel);

    /// <summary>As it is shown now: an evaluation that is too old says nothing.</summary>
    public async Task<ReadinessReport> ShowAsync(DateTimeOffset now, CancellationToken cancel)
    {
        if (await GetAsync(cancel) is not { EvaluatedAt: { } at } report)
            return new ReadinessReport { Verdict = ReadinessVerdict.Unknown, Sentence = "Nothing has been evaluated yet: that begins some seconds after the server's start." };
        var age = now - at;
        report = report with { AgeSeconds = Math.Max(0, age.TotalSeconds) };
        return age <= Core.Recovery.Readiness.AgeMax
            ? report
            : report with { Verdict = ReadinessVerdict.Unknown, Sentence = $"Unknown: the last evaluation is {Words.Of(age)} old; it said: {report.Sentence}" };
    }
}
