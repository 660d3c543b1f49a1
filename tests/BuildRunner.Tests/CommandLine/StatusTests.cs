using System.Text.Json;
using BuildRunner.Cli;
using BuildRunner.Client;
using BuildRunner.Client.Routing;
using BuildRunner.Client.Regions;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;

namespace BuildRunner.Tests.CommandLine;

public class StatusTests
{
    [Fact]
    public void SavedTable_SeveralAndABrokenOne_NewestReadableSpeaks()
    {
        using var folder = new Folder();
        folder.Write("us-east-1/table.json", Table(1, HealthState.Healthy), age: 30);
        folder.Write("eu-west-1/gateway/table.json", Table(2, HealthState.Unhealthy), age: 20);
        folder.Write("ap-south-1/table.json", "{ half a fi", age: 10);

        var status = SavedTable.Find(folder.Path)!.Status(DateTimeOffset.UtcNow);

        Assert.Equal("table", status.Source);
        Assert.Equal(HealthState.Unhealthy, status.Health);
        Assert.Equal("us-east-1 is unhealthy, and it is the primary: writes fail; the other one is healthy.", status.Sentence);
    }

    [Fact]
    public void SavedTable_None_IsNull()
    {
        using var folder = new Folder();

        Assert.Null(SavedTable.Find(folder.Path));
        Assert.Null(SavedTable.Find(null));
    }

    [Fact]
    public void Write_WithAProblem_SaysSinceWhenAndWhatToType()
    {
        using var text = new StringWriter();
        var now = new DateTimeOffset(2026, 3, 1, 3, 0, 0, TimeSpan.Zero);

        StatusText.Write(text, new StatusAnswer
        {
            At = now,
            Health = HealthState.Degraded,
            Sentence = "eu-west-1 is unhealthy for 2 min; the other 3 are healthy.",
            Problems = [new("eu-west-1", HealthState.Unhealthy, "gateway: connection refused", now - TimeSpan.FromMinutes(2), "br regions show eu-west-1")],
            Notes = ["Mode observe."],
            Next = "br regions show eu-west-1",
        }, "Server not reachable.", colour: false);

        Assert.Equal(
            """
            ! Server not reachable.
            ◐ eu-west-1 is unhealthy for 2 min; the other 3 are healthy.
              ✖ eu-west-1    unhealthy for 2 min      gateway: connection refused
              ! Mode observe.
              Next: br regions show eu-west-1

            """.ReplaceLineEndings("\n"), text.ToString());
    }

    private static string Table(long version, HealthState primary) => JsonSerializer.Serialize(new GatewayDocument { Table = new RoutingTable
    {
        Version = version,
        At = DateTimeOffset.UtcNow,
        DefaultRegion = "us-east-1",
        AllowedRegions = [],
        Regions =
        [
            new RegionRow { Code = "us-east-1", Name = "Virginia", Role = RegionRole.Primary, Location = new(38.9, -77.4), Endpoint = "http://127.0.1.1:8080", Health = primary, HasDatabase = true },
            new RegionRow { Code = "us-west-1", Name = "California", Role = RegionRole.Standby, Location = new(37.4, -121.9), Endpoint = "http://127.0.2.1:8080", Health = HealthState.Healthy, HasDatabase = true },
        ],
        Services = [],
        Databases = [new DatabaseRow { Name = "main", Epoch = 1, State = EpochState.Open, Primary = "us-east-1" }],
    } }, WireJson.Default.GatewayDocument);

    private sealed class Folder : IDisposable
    {
        public string Path { get; } = Directory.CreateTempSubdirectory("br-status-").FullName;

        public void Write(string name, string text, int age)
        {
            var file = System.IO.Path.Combine(Path, name);
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(file)!);
            File.WriteAllText(file, text);
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddSeconds(-age));
        }

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }
}
