using System.Text;
using System.Text.Json;
using BuildRunner.Application;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Application;

public sealed class AddressFileTests : IDisposable
{
    private readonly TestAddress _file = new();

    private static AddressFile Recorded { get; } = new()
    {
        Region = "us-west-1",
        Database = "shop",
        Epoch = 7,
        Open = true,
        WriteHost = "127.2.1.1",
        WritePort = 5433,
        WriteRegion = "us-east-1",
        ReadHost = "127.0.2.1",
        ReadPort = 5433,
        DatabaseName = "app",
        User = "app",
        PasswordFile = "/var/lib/buildrunner/secrets/app",
    };

    [Fact]
    public void Recording_WrittenByClientType_IsTheSameText() =>
        Assert.Equal(Recordings.Read("address-file.v1.json"), JsonSerializer.Serialize(Recorded, WireJson.Default.AddressFile));

    [Fact]
    public void Recording_ReadByBoth_SaysTheSame()
    {
        var text = Recordings.Read("address-file.v1.json");

        Assert.Equal(Recorded, JsonSerializer.Deserialize(text, WireJson.Default.AddressFile));
        Assert.Equal(new WriteAddress
        {
            Region = "us-west-1",
            Database = "shop",
            Epoch = 7,
            Open = true,
            Write = new("127.2.1.1", 5433),
            WriteRegion = "us-east-1",
            Read = new("127.0.2.1", 5433),
            DatabaseName = "app",
            User = "app",
            PasswordFile = "/var/lib/buildrunner/secrets/app",
        }, AddressDocument.Read(Encoding.UTF8.GetBytes(text)));
    }

    [Fact]
    public void Refresh_EveryTornPrefixOfANewFile_KeepsTheLastGood()
    {
        _file.Write(Recorded);
        using var source = Source();
        var next = JsonSerializer.SerializeToUtf8Bytes(Recorded with { Epoch = 8, Open = false }, WireJson.Default.AddressFile);

        for (var length = 0; length < next.Length; length++)
        {
            File.WriteAllBytes(_file.Path, next[..length]);
            source.Refresh();
            Assert.Equal((7L, true), (source.Current.Epoch, source.Current.Open));
        }

        File.WriteAllBytes(_file.Path, next);
        source.Refresh();
        Assert.Equal((8L, false), (source.Current.Epoch, source.Current.Open));
    }

    [Fact]
    public void Refresh_FileMissing_IsClosedAtFirstAndLastGoodLater()
    {
        using var source = Source();
        Assert.Same(WriteAddress.Unknown, source.Current);
        Assert.False(source.Current.Open);

        _file.Write(Recorded);
        source.Refresh();
        File.Delete(_file.Path);
        source.Refresh();

        Assert.Equal(7, source.Current.Epoch);
    }

    [Theory]
    [InlineData(6, true, 7)]
    [InlineData(7, false, 7)]
    [InlineData(8, true, 8)]
    public void Refresh_OtherEpoch_NeverGoesBack(long next, bool open, long expected)
    {
        _file.Write(Recorded);
        using var source = Source();

        _file.Write(Recorded with { Epoch = next, Open = open });
        source.Refresh();

        Assert.Equal(expected, source.Current.Epoch);
    }

    [Fact]
    public void Refresh_OpenWithoutAWriteHost_IsClosed()
    {
        _file.Write(Recorded with { WriteHost = null });
        using var source = Source();

        Assert.False(source.Current.Open);
    }

    [Fact]
    public void Refresh_LaterSchemaVersion_ChangesNothing()
    {
        _file.Write(Recorded with { SchemaVersion = 2 });
        using var source = Source();

        Assert.Null(source.Current.Epoch);
    }

    [Fact(Timeout = 30_000)]
    public async Task Watch_FileReplaced_ChangeIsTold()
    {
        var cancel = TestContext.Current.CancellationToken;
        _file.Write(Recorded);
        using var source = Source();
        var told = new List<long?>();
        source.Changed += address => told.Add(address.Epoch);
        await source.StartAsync(cancel);

        for (var epoch = 8; epoch <= 12; epoch++)
        {
            var seen = source.Current;
            _file.Write(Recorded with { Epoch = epoch });
            await source.WaitForChangeAsync(seen, cancel);
            Assert.Equal(epoch, source.Current.Epoch);
        }

        await source.StopAsync(cancel);
        Assert.Equal([8, 9, 10, 11, 12], told);
    }

    public void Dispose() => _file.Dispose();

    private WriteAddressSource Source() => new(new BuildRunnerApplicationOptions { AddressFile = _file.Path }, TimeProvider.System, NullLogger<WriteAddressSource>.Instance);
}
