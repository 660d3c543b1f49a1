using System.Text.Json;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent.Patroni;

/// <summary>The highest epoch that ended in this region's cluster, on the agent's disk.</summary>
internal sealed class PatroniFence(AgentOptions options)
{
    private readonly string _path = Path.Combine(options.DataFolder, "patroni-fence.json");

    public FenceFile? Current => File.Exists(_path) ? JsonSerializer.Deserialize(File.ReadAllBytes(_path), GuardJson.Default.FenceFile) : null;

    public FenceFile Write(long epoch, string run, string evidence, DateTimeOffset now)
    {
        var before = Current;
        if (before?.Epoch >= epoch)
            return before;
        var fence = new FenceFile { Epoch = epoch, Run = run, Evidence = evidence, At = now, Fences = (before?.Fences ?? 0) + 1 };
        AtomicFile.Write(_path, JsonSerializer.SerializeToUtf8Bytes(fence, GuardJson.Default.FenceFile));
        return fence;
    }
}
