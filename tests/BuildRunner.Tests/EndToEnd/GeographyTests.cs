using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.EndToEnd;

/// <summary>Who serves whom, as seen in the answers of a running system.</summary>
[Collection(EndToEndGroup.Name)]
public sealed class GeographyTests(ITestOutputHelper output)
{
    private const int Repeats = 1000;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 300_000)]
    public async Task Gateways_AddressesOfTheWorld_AreServedByTheRegionThatIsNear()
    {
        await using var sandbox = await Sandbox.StartAsync("--no-traffic");
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false, UseCookies = false });
        (string Country, string Address, string Enters, string ServedBy)[] cases =
        [
            ("Germany", "81.169.145.10", "eu-west-1", "eu-west-1"),
            ("Germany", "194.25.0.60", "us-east-1", "eu-west-1"),
            ("Brazil", "200.160.2.3", "us-east-1", "us-east-1"),
            ("India", "49.36.128.10", "ap-south-1", "eu-west-1"),
            ("Japan", "133.242.0.3", "ap-south-1", "eu-west-1"),
            ("United States", "66.220.144.1", "us-east-1", "us-east-1"),
        ];
        foreach (var (country, address, enters, servedBy) in cases)
        {
            var served = await ServedByAsync(http, $"{sandbox.Gateway(enters)}/api/products", address);
            var why = (await sandbox.BrAsync("route", "explain", "--ip", address, "--path", "/api/products", "--method", "GET", "--output", "json")).Fine().Json;
            output.WriteLine($"{country}: {served}; {why}");
            Assert.Equal(servedBy, served.Split('/')[0]);
        }

        var explained = (await sandbox.BrAsync("route", "explain", "--ip", "66.220.144.1", "--path", "/api/products", "--method", "GET", "--output", "json")).Fine().Out;
        Assert.Contains("\"precision\": \"country\"", explained, StringComparison.Ordinal);

        // Equal questions, equal answers.
        var regions = new HashSet<string>();
        for (var i = 0; i < Repeats; i++)
            regions.Add((await ServedByAsync(http, $"{sandbox.Gateway("eu-west-1")}/api/products/{1 + (i % 50)}", "81.169.145.10")).Split('/')[0]);
        Assert.Equal(["eu-west-1"], regions);
    }

    [Fact(Timeout = 300_000), Trait("Category", "long")]
    public async Task Gateways_CityDatabase_TellsCaliforniaFromTheRestOfTheCountry()
    {
        using var folder = new TempFolder();
        var city = folder.File("city.mmdb");
        new MmdbWriter().AddCity("68.87.85.0/24", "US", 37.77, -122.42).Write(city);
        await using var sandbox = await Sandbox.StartAsync("--no-traffic", "--geo-city", city);
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false, UseCookies = false });

        Assert.Equal("us-west-1", (await ServedByAsync(http, $"{sandbox.Gateway("us-east-1")}/api/products", "68.87.85.98")).Split('/')[0]);
        Assert.Equal("us-east-1", (await ServedByAsync(http, $"{sandbox.Gateway("us-east-1")}/api/products", "66.220.144.1")).Split('/')[0]);
    }

    private static async Task<string> ServedByAsync(HttpClient http, string url, string address)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, url);
        request.Headers.Add("X-Forwarded-For", address);
        using var answer = await http.SendAsync(request, Cancel);
        answer.EnsureSuccessStatusCode();
        return answer.Headers.GetValues("X-Served-By").Single();
    }
}
