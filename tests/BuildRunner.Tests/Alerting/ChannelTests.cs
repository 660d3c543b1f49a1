using System.Text.Json;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Alerting.Channels;
using BuildRunner.Tests.Contracts;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Alerting;

[Trait("Category", "unit")]
public sealed class LogChannelTests : ChannelContract
{
    private protected override Task<ChannelUnderTest> MakeAsync() => Task.FromResult<ChannelUnderTest>(new Under());

    [Theory]
    [InlineData(AlertSeverity.Critical, "Error")]
    [InlineData(AlertSeverity.Warning, "Warning")]
    [InlineData(AlertSeverity.Info, "Information")]
    public async Task Send_BySeverity_IsALineOfItsLevel(AlertSeverity severity, string level)
    {
        using var log = new KeptLog();
        await new LogDriver(log).Open(new ChannelDefinition("pager", "log", new Dictionary<string, string>())).SendAsync(Notification("k") with { Severity = severity }, TestContext.Current.CancellationToken);
        Assert.StartsWith($"{level}: [pager] {AlertDecision.Word(severity)} opened: us-east-1 is unhealthy.", Assert.Single(log.Lines), StringComparison.Ordinal);
    }

    private sealed class Under : ChannelUnderTest
    {
        private readonly KeptLog _log = new();

        public Under() => Channel = new LogDriver(_log).Open(new ChannelDefinition("log", "log", new Dictionary<string, string>()));

        public override INotificationChannel Channel { get; }
        public override string Logged => string.Join('\n', _log.Lines);
        public override IReadOnlyList<string> Delivered() => [.. _log.Lines.Select(line => line.Split("opened: ")[1].Split(". ")[0])];
        public override void Break() => _log.Broken = true;
        public override void Mend() => _log.Broken = false;
    }
}

[Trait("Category", "unit")]
public sealed class FileChannelTests : ChannelContract, IDisposable
{
    private readonly TempFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    private protected override Task<ChannelUnderTest> MakeAsync() => Task.FromResult<ChannelUnderTest>(new Under(_folder.File("alerts.log")));

    private INotificationChannel Open(long bytesMax = 1024 * 1024, string name = "file") => new FileDriver(_folder.Path, bytesMax).Open(Definition(name, "alerts.log"));

    private static ChannelDefinition Definition(string name, string path) => new(name, "file", new Dictionary<string, string> { ["path"] = path });

    private string[] Lines(string suffix = "") => File.Exists(_folder.File("alerts.log") + suffix) ? File.ReadAllLines(_folder.File("alerts.log") + suffix) : [];

    [Fact(Timeout = 20_000)]
    public async Task Send_AfterARestart_KnowsWhatWasTold()
    {
        await Open().SendAsync(Notification("k1"), Cancel);
        await Open().SendAsync(Notification("k1"), Cancel);
        Assert.Single(Lines());
        await Open(name: "email").SendAsync(Notification("k1"), Cancel); // another channel on the same file is another delivery
        Assert.Equal(2, Lines().Length);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_folder.File("alerts.log")));
    }

    [Fact(Timeout = 20_000)]
    public async Task Send_AfterALineThatWasCutShort_LosesNoOther()
    {
        await Open().SendAsync(Notification("k1"), Cancel);
        File.AppendAllText(_folder.File("alerts.log"), """{"schema_version":1,"key":"k2","cha""");
        await Open().SendAsync(Notification("k2"), Cancel);
        Assert.Equal(3, Lines().Length);
        Assert.Equal("k2", JsonDocument.Parse(Lines()[2]).RootElement.GetProperty("key").GetString());
    }

    [Fact(Timeout = 20_000)]
    public async Task Send_FullFile_RotatesOnceAndStillKnowsBoth()
    {
        var channel = Open(bytesMax: 1500);
        for (var i = 0; i < 40; i++)
            Assert.IsType<ChannelOutcome.Sent>(await channel.SendAsync(Notification($"k{i}"), Cancel));
        Assert.True(Lines().Length + Lines(".1").Length is > 4 and < 12);
        Assert.Equal(["alerts.log", "alerts.log.1"], Directory.EnumerateFiles(_folder.Path).Select(Path.GetFileName).Order());
        var kept = Lines().Length + Lines(".1").Length;
        await channel.SendAsync(Notification("k39"), Cancel);
        await Open(bytesMax: 1500).SendAsync(Notification(JsonDocument.Parse(Lines(".1")[0]).RootElement.GetProperty("key").GetString()!), Cancel);
        Assert.Equal(kept, Lines().Length + Lines(".1").Length);
    }

    [Fact]
    public void Line_AsRecorded_IsWrittenAndReadTheSame() => FormatTests.Form("notification-line.v1.json", NotificationFileJson.Default.NotificationLine, new NotificationLine
    {
        At = new DateTimeOffset(2026, 11, 27, 9, 0, 0, TimeSpan.Zero), Channel = "file", Severity = AlertSeverity.Critical, What = "opened", Title = "t", Text = "x", Incident = "inc-1", Command = "br status", Key = "inc-1/opened",
    });

    private sealed class Under : ChannelUnderTest
    {
        private readonly string _path;

        public Under(string path) => (_path, Channel) = (path, new FileDriver("/nowhere").Open(Definition("file", path)));

        public override INotificationChannel Channel { get; }
        public override IReadOnlyList<string> Delivered() => File.Exists(_path) ? [.. File.ReadAllLines(_path).Select(line => JsonDocument.Parse(line).RootElement.GetProperty("title").GetString()!)] : [];

        /// <summary>A folder stands where the file should be (root may write everything, so a mode would not do).</summary>
        public override void Break()
        {
            if (File.Exists(_path))
                File.Move(_path, _path + ".aside");
            Directory.CreateDirectory(_path);
        }

        public override void Mend() => Directory.Delete(_path);
    }
}
