namespace BuildRunner.Tests.Support;

/// <summary>Formats as they once were written; `tests/recordings`.</summary>
public static class Recordings
{
    public static string Folder { get; } = Path.Combine(Repository.Root, "tests", "recordings");

    public static string Read(string name) => File.ReadAllText(Path.Combine(Folder, name)).Trim();
}
