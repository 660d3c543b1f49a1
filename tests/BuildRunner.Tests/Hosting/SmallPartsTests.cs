using System.IO.Pipes;
using System.Net;
using BuildRunner.Server.Hosting;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Tests.Hosting;

public sealed class SmallPartsTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void AtomicFile_Write_HasContentAndModeAndLeavesNothingElse()
    {
        var path = _folder.File("secret");
        AtomicFile.Write(path, "one");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        AtomicFile.Write(path, "two", AtomicFile.Readable);
        Assert.Equal("two", File.ReadAllText(path));
        Assert.Equal(AtomicFile.Readable, File.GetUnixFileMode(path));
        Assert.Equal([path], Directory.GetFiles(_folder.Path));
        Assert.True(AtomicFile.Delete(path));
        Assert.False(AtomicFile.Delete(path));
    }

    [Fact]
    public void AtomicFile_WriteFails_LeavesTheOldAndNoRemains()
    {
        var path = _folder.File("folder");
        Directory.CreateDirectory(path);
        Assert.ThrowsAny<Exception>(() => AtomicFile.Write(path, "x"));
        Assert.Empty(Directory.GetFiles(_folder.Path));
    }

    [Theory]
    [InlineData(null, "127.0.2.1", "127.0.2.1")]
    [InlineData("1", "127.0.2.1", "127.1.2.1")]
    [InlineData("1", "127.0.1.1", "127.0.1.1")]
    [InlineData("1", "127.0.0.1", "127.1.0.1")]
    [InlineData("9", "127.0.0.1", "127.0.0.1")]
    [InlineData("9", "127.0.4.1", "127.9.4.1")]
    [InlineData("0", "127.0.4.1", "127.0.4.1")]
    [InlineData("2", "db.example", "db.example")]
    public void Network_Viewer_MapsToItsRelay(string? viewer, string host, string dialled) => Assert.Equal(new DnsEndPoint(dialled, 5433), Network.FromViewer(viewer).Map(host, 5433));

    [Theory]
    [InlineData("ten")]
    [InlineData("10")]
    [InlineData("-1")]
    public void Network_WrongViewer_IsSaid(string viewer) => Assert.Throws<FormatException>(() => Network.FromViewer(viewer));

    [Fact(Timeout = 20_000)]
    public async Task ParentWatch_PipeCloses_Stops()
    {
        using var theirs = new AnonymousPipeServerStream(PipeDirection.Out);
        var ours = new AnonymousPipeClientStream(PipeDirection.In, theirs.ClientSafePipeHandle);
        var stopped = new TaskCompletionSource();
        var killed = false;
        ParentWatch.Start(ours, stopped.SetResult, () => killed = true);
        theirs.WriteByte(1); // whatever is written means nothing
        Assert.False(stopped.Task.IsCompleted);
        theirs.Dispose();
        await stopped.Task.WaitAsync(Cancel);
        Assert.False(killed);
    }

    [Fact]
    public void LineLog_OneEntry_IsOneLineEvenWhenItsTextIsNot()
    {
        var path = _folder.File("server.log");
        using (var log = new LineLog(path, null))
        {
            var logger = log.CreateLogger("BuildRunner.Server.Hosting.NodeClient");
#pragma warning disable CA1848, CA2254
            logger.LogWarning("first\r\n2026-01-01T00:00:00.000Z error forged");
            logger.LogDebug("not shown");
            log.CreateLogger("Microsoft.AspNetCore.Hosting").LogInformation("not shown either");
#pragma warning restore CA1848, CA2254
        }
        var line = Assert.Single(File.ReadAllLines(path));
        Assert.Contains("warn  NodeClient: first", line, StringComparison.Ordinal);
        Assert.Equal(AtomicFile.OwnerOnly, File.GetUnixFileMode(path));
    }
}
