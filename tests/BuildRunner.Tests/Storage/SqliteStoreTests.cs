using System.Text;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Contracts;
using BuildRunner.Tests.Support;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Storage;

public sealed class SqliteStoreTests : StoreContract, IDisposable
{
    private readonly TempFolder _folder = new();

    private string File_ => _folder.File("state.db");

    public void Dispose() => _folder.Dispose();

    private protected override StoreUnderTest Make()
    {
        var under = new Under(Path.Combine(_folder.Path, $"{Guid.NewGuid():N}.db"));
        under.Restart();
        return under;
    }

    private sealed class Under(string path) : StoreUnderTest
    {
        private readonly FakeTimeProvider _time = new();
        private SqliteStore? _store;

        public override IStore Store => _store!;
        public override FakeTimeProvider Time => _time;

        /// <summary>Opened at once: leases that were held count from then.</summary>
        public override void Restart()
        {
            _store?.Dispose();
            _store = SqliteStore.Open(path, _time, NullLogger.Instance);
        }

        public override void Dispose() => _store?.Dispose();
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private SqliteStore Open(int? pagesMax = null) => SqliteStore.Open(File_, TimeProvider.System, NullLogger.Instance, pagesMax);

    [Fact(Timeout = 20_000)]
    public async Task Open_NewFile_IsOwnersOnlyAndFlushesEachCommit()
    {
        using var store = Open();
        await store.PutAsync("k", "v"u8.ToArray(), null, null, Cancel);
        foreach (var file in Directory.GetFiles(_folder.Path))
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        Assert.Equal(2, store.Synchronous); // FULL: each commit reaches the disk before it is acknowledged
        Assert.Equal("wal", store.JournalMode);
    }

    [Fact(Timeout = 60_000)]
    public async Task Put_ManyAtOnce_ShareCommits()
    {
        using var store = Open();
        var before = store.Commits;
        await Task.WhenAll(Enumerable.Range(0, 1000).Select(i => store.PutAsync($"k{i}", default, null, null, Cancel)));
        Assert.InRange(store.Commits - before, 4, 500); // 256 in one at the most
    }

    [Fact]
    public void Open_Twice_IsRefusedWhileTheFirstLives()
    {
        using (Open())
            Assert.Contains("Another process uses the store", Assert.Throws<StoreException>(() => Open()).Message, StringComparison.Ordinal);
        Open().Dispose();
    }

    [Theory(Timeout = 20_000)]
    [InlineData("")]
    [InlineData("short")]
    [InlineData("this is a text of somebody's, and by no means a store of ours")]
    [InlineData("SQLite format 3\0 and then nothing that makes sense: a torn file of which only the head is left")]
    public async Task Open_NoStore_IsRefusedAndLeftAsItIs(string content)
    {
        await File.WriteAllTextAsync(File_, content, Cancel);
        var message = Assert.Throws<StoreException>(() => Open()).Message;
        Assert.Contains("left as it is", message.Replace("was left", "left", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains(File_, message, StringComparison.Ordinal);
        Assert.Equal(content, await File.ReadAllTextAsync(File_, Cancel));
    }

    [Fact]
    public void Open_SomebodyElsesSqlite_IsRefused()
    {
        Sql("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (42);");
        Assert.Contains("no store of BuildRunner", Assert.Throws<StoreException>(() => Open()).Message, StringComparison.Ordinal);
        Assert.Equal(42L, Sql("SELECT x FROM theirs"));
    }

    [Fact]
    public void Open_NewerSchema_IsRefusedByItsNumber()
    {
        Open().Dispose();
        Sql("UPDATE schema_version SET version = 7");
        var message = Assert.Throws<StoreException>(() => Open()).Message;
        Assert.Contains("format 7", message, StringComparison.Ordinal);
        Assert.Contains("newer BuildRunner", message, StringComparison.Ordinal);
    }

    [Fact(Timeout = 60_000)]
    public async Task Open_DamagedPages_IsRefusedAndLeftAsItIs()
    {
        using (var store = Open())
        {
            for (var i = 0; i < 200; i++)
                await store.PutAsync($"key/{i}", new byte[500], null, null, Cancel);
        }
        var bytes = await File.ReadAllBytesAsync(File_, Cancel);
        for (var at = 8192; at < bytes.Length; at += 4096)
            bytes.AsSpan(at, 64).Fill(0xA5); // the head of every page but the first two
        await File.WriteAllBytesAsync(File_, bytes, Cancel);
        Assert.Contains("damaged", Assert.Throws<StoreException>(() => Open()).Message, StringComparison.Ordinal);
        Assert.Equal(bytes, await File.ReadAllBytesAsync(File_, Cancel));
    }

    [Fact(Timeout = 20_000)]
    public async Task Open_FileGoneButLogThere_IsRefused()
    {
        await File.WriteAllTextAsync(File_ + "-wal", "what is left of a store whose file was moved away", Cancel);
        Assert.Contains("is missing", Assert.Throws<StoreException>(() => Open()).Message, StringComparison.Ordinal);
    }

    [Fact(Timeout = 20_000)]
    public async Task Open_LeftoverOfACutShortStart_BeginsAnew()
    {
        await File.WriteAllTextAsync(File_ + ".new", "half a file", Cancel);
        Open().Dispose();
        Assert.False(File.Exists(File_ + ".new"));
    }

    [Fact(Timeout = 60_000)]
    public async Task Put_DiskFull_SaysSoAndLosesNothing()
    {
        using (var store = Open(pagesMax: 64))
        {
            var kept = 0;
            var failure = await Assert.ThrowsAsync<StoreException>(async () =>
            {
                for (; ; kept++)
                    await store.AppendAsync("log", new byte[4000], null, null, Cancel);
            });
            Assert.Contains("full", failure.Message, StringComparison.Ordinal);
            Assert.InRange(kept, 10, 64);
            Assert.Equal(kept, (await store.ReadAsync("log", 0, 1000, Cancel)).Count);
            await store.DeleteAsync("nothing", null, null, Cancel); // what needs no room goes on
        }
        using var again = Open();
        var last = (await again.ReadLastAsync("log", 1, Cancel))[0].Position;
        Assert.Equal(last + 1, Assert.IsType<StoreWrite.Done>(await again.AppendAsync("log", new byte[4000], last, null, Cancel)).Version);
    }

    [Fact(Timeout = 20_000)]
    public async Task Dispose_WritesUnderWay_AreFinishedOrRefused()
    {
        var store = Open();
        var writes = Enumerable.Range(0, 500).Select(i => store.AppendAsync("log", Encoding.UTF8.GetBytes($"{i}"), null, null, Cancel)).ToList();
        await Task.Run(store.Dispose, Cancel);
        var acknowledged = 0;
        foreach (var write in writes)
        {
            try
            {
                await write;
                acknowledged++;
            }
            catch (ObjectDisposedException) { }
        }
        using var again = Open();
        Assert.Equal(acknowledged, (await again.ReadAsync("log", 0, 1000, Cancel)).Count);
    }

    private object? Sql(string sql)
    {
        using var connection = new SqliteConnection($"Data Source={File_};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
