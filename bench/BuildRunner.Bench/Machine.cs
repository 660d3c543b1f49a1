using System.Runtime.InteropServices;

namespace BuildRunner.Bench;

/// <summary>The machine, and the versions of what is measured on it.</summary>
internal static class Machine
{
    private const string Debian = "/usr/lib/postgresql";

    public static bool IsRoot { get; } = Environment.IsPrivilegedProcess;

    /// <summary>Folder of the newest PostgreSQL's programs.</summary>
    public static string PostgresPrograms { get; } = Directory.Exists(Debian)
        ? Path.Combine(Directory.EnumerateDirectories(Debian).MaxBy(folder => int.TryParse(Path.GetFileName(folder), out var version) ? version : 0)!, "bin")
        : throw new BenchException($"PostgreSQL is missing: there is no {Debian}.");

    public static async Task<IReadOnlyDictionary<string, string>> VersionsAsync(string br) => new Dictionary<string, string>
    {
        ["buildrunner"] = await Commands.FirstLineAsync(br, "--version") ?? "unknown",
        ["patroni"] = await Commands.FirstLineAsync("patroni", "--version") ?? "unknown",
        ["etcd"] = await Commands.FirstLineAsync("etcd", "--version") ?? "unknown",
        ["haproxy"] = await Commands.FirstLineAsync("haproxy", "-v") ?? "unknown",
        ["postgresql"] = await Commands.FirstLineAsync(Path.Combine(PostgresPrograms, "postgres"), "--version") ?? "unknown",
        ["machine"] = $"{Environment.ProcessorCount} cores, {GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / (1L << 30)} GiB, {RuntimeInformation.OSDescription}",
    };
}
