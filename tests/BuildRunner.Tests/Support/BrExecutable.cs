namespace BuildRunner.Tests.Support;

/// <summary>The built `br`, in its own folder: the copy beside the tests lacks its native libraries.</summary>
public static class BrExecutable
{
    public static string Path { get; } = Find();

    private static string Find()
    {
        var mine = new DirectoryInfo(AppContext.BaseDirectory.TrimEnd('/'));
        var path = System.IO.Path.Combine(mine.Parent!.Parent!.FullName, "BuildRunner", mine.Name.Split('_')[0] + "_linux-x64", "br");
        return File.Exists(path) ? path : throw new FileNotFoundException($"The executable is not built: {path}.");
    }
}
