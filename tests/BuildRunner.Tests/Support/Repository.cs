namespace BuildRunner.Tests.Support;

/// <summary>The checkout these tests were built from. Deterministic builds map source paths away, so the test program's own folder leads there.</summary>
public static class Repository
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "BuildRunner.slnx")))
                return at.FullName;
        }
        throw new DirectoryNotFoundException($"BuildRunner.slnx is in no folder above {AppContext.BaseDirectory}.");
    }
}
