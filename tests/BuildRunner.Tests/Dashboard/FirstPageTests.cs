using System.Diagnostics;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Regions;
using BuildRunner.Tests.Regions;
using BuildRunner.Tests.Support;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;

namespace BuildRunner.Tests.Dashboard;

/// <summary>The first page in a real browser. BR_SCREENSHOTS names a folder in which to leave what it looked like.</summary>
public class FirstPageTests
{
    private const string Browser = "/usr/bin/chromium";
    private static readonly string[] Flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory(Timeout = 120_000)]
    [InlineData(ColorScheme.Light, 1280)]
    [InlineData(ColorScheme.Dark, 1280)]
    [InlineData(ColorScheme.Light, 390)]
    public async Task FirstPage_SignInThenARegionFails_ShowsItWithinTwoSecondsAndIsAccessible(ColorScheme scheme, int width)
    {
        Assert.SkipUnless(File.Exists(Browser), "Chromium is not installed (apt-get install chromium).");
        await using var house = await RegionsHouse.StartAsync(databases: true);
        using var reporting = new Timer(_ =>
        {
            house.Report("us-east-1", DatabaseState.Primary);
            house.Report("us-west-1", DatabaseState.Standby, 0.2);
            house.Report("eu-west-1", DatabaseState.Standby, 0.4);
        }, null, TimeSpan.Zero, TimeSpan.FromMilliseconds(500));
        await house.SettleAsync(Cancel);
        using var playwright = await Playwright.CreateAsync();
        await using var browser = await playwright.Chromium.LaunchAsync(new() { ExecutablePath = Browser, Args = Flags });
        var page = await browser.NewPageAsync(new() { ColorScheme = scheme, ViewportSize = new() { Width = width, Height = 1000 } });
        var complaints = new List<string>();
        page.Console += (_, message) => { if (message.Type == "error" && !message.Text.Contains("401", StringComparison.Ordinal)) complaints.Add(message.Text); };

        await page.GotoAsync(house.Address.ToString());
        await AccessibleAsync(page);
        await ShotAsync(page, $"sign-in-{scheme}-{width}");
        await page.GetByLabel("Token").FillAsync("br_wrong");
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Alert)).ToBeVisibleAsync();
        await page.GetByLabel("Token").FillAsync(house.Token);
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();

        await Assertions.Expect(page.Locator("#sentence")).ToHaveTextAsync("All 4 regions are healthy; us-east-1 takes writes.");
        await Assertions.Expect(page.Locator("#pulse")).ToHaveTextAsync("live");
        await AccessibleAsync(page);
        await ShotAsync(page, $"healthy-{scheme}-{width}");

        house.Gateways["us-east-1"].Status = 500;
        await Eventually.TrueAsync(() => house.Get<IRegionHealth>().Current[0].Health == HealthState.Unhealthy, "a verdict", Cancel);
        var decided = Stopwatch.GetTimestamp();
        await Assertions.Expect(page.Locator("#sentence")).ToContainTextAsync("us-east-1 is unhealthy", new() { Timeout = 2000 });
        Assert.True(Stopwatch.GetElapsedTime(decided) < TimeSpan.FromSeconds(2));
        await Assertions.Expect(page.Locator("#verdict code")).ToHaveTextAsync("br dr failover --dry-run --target us-west-1");
        await Assertions.Expect(page.Locator("#events")).ToContainTextAsync("us-east-1 is unhealthy (was healthy)");
        await Assertions.Expect(page.Locator("#verdict .incident")).ToContainTextAsync("us-east-1 is unhealthy, and it takes the writes", new() { Timeout = 10_000 });
        await AccessibleAsync(page);
        await ShotAsync(page, $"unhealthy-{scheme}-{width}");
        Assert.Equal(width, await page.EvaluateAsync<int>("document.documentElement.scrollWidth")); // nothing sticks out

        await page.GetByRole(AriaRole.Button, new() { Name = "Sign out" }).ClickAsync();
        await Assertions.Expect(page.GetByLabel("Token")).ToBeVisibleAsync();
        Assert.Empty(complaints);
    }

    private static async Task AccessibleAsync(IPage page)
    {
        var result = await page.RunAxe();
        Assert.True(result.Violations.Length == 0, string.Join("\n", result.Violations.Select(v => $"{v.Impact} {v.Id}: {v.Help} at {string.Join(", ", v.Nodes.Select(n => n.Html))}")));
    }

    private static async Task ShotAsync(IPage page, string name)
    {
        if (Environment.GetEnvironmentVariable("BR_SCREENSHOTS") is { Length: > 0 } folder)
            await page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"{name}.png"), FullPage = true });
    }
}
