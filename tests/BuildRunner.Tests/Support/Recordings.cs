using System.Runtime.CompilerServices;

namespace BuildRunner.Tests.Support;

/// <summary>Formats as they once were written; `tests/recordings`.</summary>
public static class Recordings
{
    public static string Folder { get; } = FolderBeside();

    public static string Read(string name) => File.ReadAllText(Path.Combine(Folder, name)).Trim();

    private static string FolderBeside([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", "recordings"));
}
