namespace Shop;

/// <summary>Stops the application in order when standard input closes.</summary>
internal static class StdinWatch
{
    public static void Start(IHostApplicationLifetime lifetime) => new Thread(() =>
    {
        var ignored = new byte[256];
        using var input = Console.OpenStandardInput();
        try
        {
            while (input.Read(ignored) > 0) { }
        }
        catch (IOException) { } // gone in another way
        lifetime.StopApplication();
    }) { IsBackground = true, Name = "stdin" }.Start();
}
