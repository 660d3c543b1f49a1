namespace Shop;

internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        if (ShopOptions.Parse(arguments, out var wrong) is not { } options)
        {
            await Console.Error.WriteLineAsync($"shop: {wrong}\n{ShopOptions.Usage}");
            return 2;
        }

        await using var app = ShopApplication.Build(options);
        if (options.WatchStdin)
            StdinWatch.Start(app.Lifetime);
        try { await app.RunAsync(); }
        catch (IOException error) when (error.InnerException is Microsoft.AspNetCore.Connections.AddressInUseException)
        {
            await Console.Error.WriteLineAsync($"shop: {error.Message} Another process listens there: choose another --port.");
            return 1;
        }

        return 0;
    }
}
