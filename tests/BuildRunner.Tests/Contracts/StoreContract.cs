using System.Text;
using BuildRunner.Server.Storage;
using CsCheck;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Contracts;

/// <summary>What every store does, whatever is behind it. Versions are not said to count by one: a store may use its revision.</summary>
public abstract class StoreContract
{
    private static readonly TimeSpan Ttl = TimeSpan.FromSeconds(10);

    private protected abstract StoreUnderTest Make();

    /// <summary>A store, the clock that it counts leases by, and a way to stop its process and start it again.</summary>
    private protected abstract class StoreUnderTest : IDisposable
    {
        public abstract IStore Store { get; }
        public abstract FakeTimeProvider Time { get; }
        public abstract void Restart();
        public abstract void Dispose();
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static ReadOnlyMemory<byte> Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);

    private static long Version(StoreWrite write) => Assert.IsType<StoreWrite.Done>(write).Version;

    [Fact(Timeout = 20_000)]
    public async Task Put_NewKey_IsReadBackWithItsVersion()
    {
        using var under = Make();
        var version = Version(await under.Store.PutAsync("a/b", Bytes("one"), 0, null, Cancel));
        var entry = await under.Store.GetAsync("a/b", Cancel);
        Assert.NotNull(entry);
        Assert.Equal(("a/b", "one", version), (entry.Key, Text(entry.Value), entry.Version));
        Assert.True(version > 0);
    }

    [Fact(Timeout = 20_000)]
    public async Task Get_MissingKey_IsNull()
    {
        using var under = Make();
        Assert.Null(await under.Store.GetAsync("nobody", Cancel));
    }

    [Fact(Timeout = 20_000)]
    public async Task Put_EmptyValue_IsNotTheSameAsNoKey()
    {
        using var under = Make();
        await under.Store.PutAsync("empty", default, null, null, Cancel);
        Assert.Equal(0, (await under.Store.GetAsync("empty", Cancel))?.Value.Length);
    }

    [Fact(Timeout = 20_000)]
    public async Task Put_ExpectedVersion_DecidesBothWays()
    {
        using var under = Make();
        var first = Version(await under.Store.PutAsync("k", Bytes("1"), 0, null, Cancel));
        Assert.Equal(first, Assert.IsType<StoreWrite.Conflict>(await under.Store.PutAsync("k", Bytes("x"), 0, null, Cancel)).Actual);
        Assert.Equal(first, Assert.IsType<StoreWrite.Conflict>(await under.Store.PutAsync("k", Bytes("x"), first + 1, null, Cancel)).Actual);
        Assert.Equal(0, Assert.IsType<StoreWrite.Conflict>(await under.Store.PutAsync("other", Bytes("x"), first, null, Cancel)).Actual);
        var second = Version(await under.Store.PutAsync("k", Bytes("2"), first, null, Cancel));
        Assert.True(second > first);
        Assert.Equal("2", Text((await under.Store.GetAsync("k", Cancel))!.Value));
        Assert.Null(await under.Store.GetAsync("other", Cancel));
        Assert.True(Version(await under.Store.PutAsync("k", Bytes("3"), null, null, Cancel)) > second);
    }

    [Fact(Timeout = 20_000)]
    public async Task Delete_ThenPut_VersionsGrowOverTheDelete()
    {
        using var under = Make();
        var before = Version(await under.Store.PutAsync("k", Bytes("1"), 0, null, Cancel));
        Assert.IsType<StoreWrite.Conflict>(await under.Store.DeleteAsync("k", before + 1, null, Cancel));
        Assert.IsType<StoreWrite.Done>(await under.Store.DeleteAsync("k", before, null, Cancel));
        Assert.Null(await under.Store.GetAsync("k", Cancel));
        Assert.IsType<StoreWrite.Done>(await under.Store.DeleteAsync("k", null, null, Cancel)); // gone already: as wanted
        Assert.Equal(0, Assert.IsType<StoreWrite.Conflict>(await under.Store.DeleteAsync("k", before, null, Cancel)).Actual);
        var after = Version(await under.Store.PutAsync("k", Bytes("2"), 0, null, Cancel));
        Assert.True(after > before);
        // Who held the old version must not be able to write over the new key.
        Assert.IsType<StoreWrite.Conflict>(await under.Store.PutAsync("k", Bytes("stale"), before, null, Cancel));
    }

    [Fact(Timeout = 20_000)]
    public async Task List_Prefix_IsExactAndInOrder()
    {
        using var under = Make();
        foreach (var key in new[] { "t/b", "t/a", "t", "t/ä", "u/a", "t0", "s/z", "t/a/c" })
            await under.Store.PutAsync(key, Bytes(key), null, null, Cancel);
        Assert.Equal(["t/a", "t/a/c", "t/b", "t/ä"], (await under.Store.ListAsync("t/", Cancel)).Select(entry => entry.Key));
        Assert.Equal(["s/z", "t", "t/a", "t/a/c", "t/b", "t/ä", "t0", "u/a"], (await under.Store.ListAsync("", Cancel)).Select(entry => entry.Key));
        Assert.Empty(await under.Store.ListAsync("x", Cancel));
    }

    [Fact(Timeout = 20_000)]
    public async Task Append_Positions_CountFromOneWithoutGaps()
    {
        using var under = Make();
        Assert.Equal(1, Version(await under.Store.AppendAsync("log", Bytes("a"), 0, null, Cancel)));
        Assert.Equal(1, Assert.IsType<StoreWrite.Conflict>(await under.Store.AppendAsync("log", Bytes("x"), 0, null, Cancel)).Actual);
        Assert.Equal(2, Version(await under.Store.AppendAsync("log", Bytes("b"), 1, null, Cancel)));
        Assert.Equal(3, Version(await under.Store.AppendAsync("log", Bytes("c"), null, null, Cancel)));
        Assert.Equal(1, Version(await under.Store.AppendAsync("log2", Bytes("z"), null, null, Cancel)));
        Assert.Equal(["b", "c"], (await under.Store.ReadAsync("log", 1, 10, Cancel)).Select(record => Text(record.Value)));
        Assert.Equal([1L, 2L], (await under.Store.ReadAsync("log", 0, 2, Cancel)).Select(record => record.Position));
        Assert.Equal([2L, 3L], (await under.Store.ReadLastAsync("log", 2, Cancel)).Select(record => record.Position));
        Assert.Empty(await under.Store.ReadAsync("log", 3, 10, Cancel));
        Assert.Empty(await under.Store.ReadLastAsync("none", 10, Cancel));
        Assert.Null(await under.Store.GetAsync("log", Cancel)); // logs and keys are separate
    }

    [Fact(Timeout = 20_000)]
    public async Task Append_SeveralWithAKey_AllOrNothing()
    {
        using var under = Make();
        Assert.Equal(2, Version(await under.Store.AppendAsync("log", [Bytes("a"), Bytes("b")], new KeyWrite("k", Bytes("1")), 0, null, Cancel)));
        Assert.Equal("1", Text((await under.Store.GetAsync("k", Cancel))!.Value));
        Assert.Equal(2, Assert.IsType<StoreWrite.Conflict>(await under.Store.AppendAsync("log", [Bytes("x"), Bytes("y")], new KeyWrite("k", Bytes("2")), 1, null, Cancel)).Actual);
        var old = (await under.Store.AcquireAsync("server", "a", Ttl, Cancel))!;
        under.Time.Advance(Ttl);
        await under.Store.AcquireAsync("server", "b", Ttl, Cancel);
        Assert.IsType<StoreWrite.Fenced>(await under.Store.AppendAsync("log", [Bytes("x")], new KeyWrite("k", Bytes("2")), null, old.Fence, Cancel));
        await Assert.ThrowsAsync<StoreException>(() => under.Store.AppendAsync("log", [Bytes("x")], new KeyWrite("", Bytes("2")), null, null, Cancel));
        Assert.Equal(["a", "b"], (await under.Store.ReadAsync("log", 0, 10, Cancel)).Select(record => Text(record.Value)));
        Assert.Equal("1", Text((await under.Store.GetAsync("k", Cancel))!.Value));

        Assert.Equal(3, Version(await under.Store.AppendAsync("log", [Bytes("c")], new KeyWrite("k", Bytes("3")), 2, null, Cancel)));
        under.Restart();
        Assert.Equal(["a", "b", "c"], (await under.Store.ReadAsync("log", 0, 10, Cancel)).Select(record => Text(record.Value)));
        Assert.Equal("3", Text((await under.Store.GetAsync("k", Cancel))!.Value));
    }

    [Fact(Timeout = 60_000)]
    public async Task Append_ManyAtOnce_NoneIsLostOrDoubled()
    {
        using var under = Make();
        var writes = await Task.WhenAll(Enumerable.Range(0, 200).Select(i => Task.Run(() => under.Store.AppendAsync("log", Bytes($"{i}"), null, null, Cancel))));
        Assert.Equal(Enumerable.Range(1, 200).Select(i => (long)i), writes.Select(Version).Order());
        var records = await under.Store.ReadAsync("log", 0, 1000, Cancel);
        Assert.Equal(200, records.Select(record => Text(record.Value)).Distinct().Count());
        Assert.All(writes.Select((write, i) => (Version(write), $"{i}")), pair => Assert.Equal(pair.Item2, Text(records[(int)pair.Item1 - 1].Value)));
    }

    [Fact(Timeout = 60_000)]
    public async Task Put_RacingCompareAndSet_HasExactlyOneWinner()
    {
        using var under = Make();
        for (var round = 0; round < 20; round++)
        {
            var expected = (await under.Store.GetAsync("epoch", Cancel))?.Version ?? 0;
            var writes = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => Task.Run(() => under.Store.PutAsync("epoch", Bytes($"{round}.{i}"), expected, null, Cancel))));
            Assert.Single(writes.OfType<StoreWrite.Done>());
        }
    }

    [Fact(Timeout = 20_000)]
    public async Task Restart_KeepsEverything()
    {
        using var under = Make();
        var version = Version(await under.Store.PutAsync("k", Bytes("1"), null, null, Cancel));
        await under.Store.AppendAsync("log", Bytes("a"), null, null, Cancel);
        under.Restart();
        Assert.Equal(version, (await under.Store.GetAsync("k", Cancel))?.Version);
        Assert.Equal(2, Version(await under.Store.AppendAsync("log", Bytes("b"), 1, null, Cancel)));
        Assert.True(Version(await under.Store.PutAsync("k", Bytes("2"), version, null, Cancel)) > version);
    }

    [Fact(Timeout = 20_000)]
    public async Task Lease_HeldByAnother_IsRefusedUntilItRunsOut()
    {
        using var under = Make();
        var mine = await under.Store.AcquireAsync("server", "a", Ttl, Cancel);
        Assert.NotNull(mine);
        under.Time.Advance(Ttl - TimeSpan.FromMilliseconds(1));
        Assert.Null(await under.Store.AcquireAsync("server", "b", Ttl, Cancel));
        under.Time.Advance(TimeSpan.FromMilliseconds(1));
        var theirs = await under.Store.AcquireAsync("server", "b", Ttl, Cancel);
        Assert.True(theirs?.Token > mine.Token);
        Assert.False(await under.Store.RenewAsync(mine, Ttl, Cancel));
        Assert.Null(await under.Store.AcquireAsync("server", "a", Ttl, Cancel));
    }

    [Fact(Timeout = 20_000)]
    public async Task Lease_Renewed_CountsFromTheRenewal()
    {
        using var under = Make();
        var mine = (await under.Store.AcquireAsync("server", "a", Ttl, Cancel))!;
        for (var i = 0; i < 3; i++)
        {
            under.Time.Advance(Ttl * 0.9);
            Assert.True(await under.Store.RenewAsync(mine, Ttl, Cancel));
        }
        Assert.Equal(mine.Token, (await under.Store.AcquireAsync("server", "a", Ttl, Cancel))?.Token); // a repeat by its holder is a renewal
        mine = (await under.Store.AcquireAsync("server", "a", Ttl, Cancel, above: mine.Token + 100))!;
        Assert.True(mine.Token > 100, "a token is above the one that is named");
        Assert.Equal(mine.Token, (await under.Store.AcquireAsync("server", "a", Ttl, Cancel, above: 100))?.Token);
        Assert.Null(await under.Store.AcquireAsync("server", "b", Ttl, Cancel));
        under.Time.Advance(Ttl);
        Assert.False(await under.Store.RenewAsync(mine, Ttl, Cancel)); // run out, though nobody took it
    }

    [Fact(Timeout = 20_000)]
    public async Task Lease_Released_IsFreeAtOnceAndTokensStillGrow()
    {
        using var under = Make();
        var last = 0L;
        foreach (var holder in new[] { "a", "b", "b", "a" })
        {
            var grant = (await under.Store.AcquireAsync("server", holder, Ttl, Cancel))!;
            Assert.True(grant.Token > last);
            last = grant.Token;
            await under.Store.ReleaseAsync(grant, Cancel);
            await under.Store.ReleaseAsync(grant, Cancel);
            Assert.False(await under.Store.RenewAsync(grant, Ttl, Cancel));
        }
        under.Restart();
        Assert.True((await under.Store.AcquireAsync("server", "c", Ttl, Cancel))?.Token > last);
    }

    [Fact(Timeout = 20_000)]
    public async Task Lease_ReleasedByAFormerHolder_StaysWithTheNewOne()
    {
        using var under = Make();
        var old = (await under.Store.AcquireAsync("server", "a", Ttl, Cancel))!;
        under.Time.Advance(Ttl);
        var current = (await under.Store.AcquireAsync("server", "b", Ttl, Cancel))!;
        await under.Store.ReleaseAsync(old, Cancel);
        Assert.True(await under.Store.RenewAsync(current, Ttl, Cancel));
    }

    [Fact(Timeout = 20_000)]
    public async Task Lease_AfterRestart_CountsAsHeldForAWholeTtlExceptForItsHolder()
    {
        using var under = Make();
        var mine = (await under.Store.AcquireAsync("server", "a", Ttl, Cancel))!;
        under.Time.Advance(Ttl * 0.9);
        under.Restart(); // how long the store was away is unknown to it
        under.Time.Advance(Ttl * 0.9);
        Assert.Null(await under.Store.AcquireAsync("server", "b", Ttl, Cancel));
        Assert.True(await under.Store.RenewAsync(mine, Ttl, Cancel));
        under.Restart();
        Assert.Equal(mine.Token, (await under.Store.AcquireAsync("server", "a", Ttl, Cancel))?.Token);
        under.Restart();
        under.Time.Advance(Ttl);
        Assert.True((await under.Store.AcquireAsync("server", "b", Ttl, Cancel))?.Token > mine.Token);
    }

    [Fact(Timeout = 20_000)]
    public async Task Fence_OlderToken_RefusesEveryKindOfWrite()
    {
        using var under = Make();
        var old = (await under.Store.AcquireAsync("server", "a", Ttl, Cancel))!;
        Assert.IsType<StoreWrite.Done>(await under.Store.PutAsync("k", Bytes("1"), null, old.Fence, Cancel));
        Assert.IsType<StoreWrite.Done>(await under.Store.AppendAsync("log", Bytes("1"), null, old.Fence, Cancel));
        under.Time.Advance(Ttl);
        var current = (await under.Store.AcquireAsync("server", "b", Ttl, Cancel))!;
        Assert.Equal(current.Token, Assert.IsType<StoreWrite.Fenced>(await under.Store.PutAsync("k", Bytes("2"), null, old.Fence, Cancel)).Current);
        Assert.IsType<StoreWrite.Fenced>(await under.Store.PutAsync("k", Bytes("2"), 999, old.Fence, Cancel)); // the fence speaks before the version
        Assert.IsType<StoreWrite.Fenced>(await under.Store.DeleteAsync("k", null, old.Fence, Cancel));
        Assert.IsType<StoreWrite.Fenced>(await under.Store.AppendAsync("log", Bytes("2"), null, old.Fence, Cancel));
        Assert.Equal("1", Text((await under.Store.GetAsync("k", Cancel))!.Value));
        Assert.Single(await under.Store.ReadAsync("log", 0, 10, Cancel));
        Assert.IsType<StoreWrite.Done>(await under.Store.PutAsync("k", Bytes("3"), null, current.Fence, Cancel));
        await under.Store.ReleaseAsync(current, Cancel);
        under.Restart();
        Assert.IsType<StoreWrite.Fenced>(await under.Store.PutAsync("k", Bytes("4"), null, old.Fence, Cancel));
    }

    [Fact(Timeout = 20_000)]
    public async Task Watch_ChangesUnderThePrefix_AreHinted()
    {
        using var under = Make();
        var hints = System.Threading.Channels.Channel.CreateUnbounded<string>();
        using (under.Store.Watch("runs/", name => hints.Writer.TryWrite(name)))
        using (under.Store.Watch("runs/", _ => throw new InvalidOperationException("a watcher that fails harms nobody")))
        {
            await under.Store.PutAsync("other", Bytes("x"), null, null, Cancel);
            await under.Store.PutAsync("runs/1", Bytes("x"), null, null, Cancel);
            Assert.Equal("runs/1", await hints.Reader.ReadAsync(Cancel));
            await under.Store.AppendAsync("runs/2", Bytes("x"), null, null, Cancel);
            Assert.Equal("runs/2", await hints.Reader.ReadAsync(Cancel));
            await under.Store.DeleteAsync("runs/1", null, null, Cancel);
            Assert.Equal("runs/1", await hints.Reader.ReadAsync(Cancel));
        }
        await under.Store.PutAsync("runs/3", Bytes("x"), null, null, Cancel);
        await under.Store.PutAsync("runs/3", Bytes("x"), null, null, Cancel);
        Assert.False(hints.Reader.TryRead(out _));
    }

    [Fact(Timeout = 60_000)]
    public async Task Limits_BothSides_AreTheInterfaces()
    {
        using var under = Make();
        var store = under.Store;
        Assert.IsType<StoreWrite.Done>(await store.PutAsync(new string('k', 512), new byte[1024 * 1024], null, null, Cancel));
        Assert.Equal(1024 * 1024, (await store.GetAsync(new string('k', 512), Cancel))?.Value.Length);
        await Refused("512", () => store.PutAsync(new string('k', 513), default, null, null, Cancel));
        await Refused("512", () => store.PutAsync(new string('ä', 257), default, null, null, Cancel)); // bytes count, not letters
        await Refused("1048576", () => store.PutAsync("k", new byte[(1024 * 1024) + 1], null, null, Cancel));
        await Refused("1048576", () => store.AppendAsync("log", new byte[(1024 * 1024) + 1], null, null, Cancel));
        await Refused("empty", () => store.PutAsync("", default, null, null, Cancel));
        await Refused("control", () => store.PutAsync("a\0b", default, null, null, Cancel));
        await Refused("Unicode", () => store.PutAsync("a\ud800", default, null, null, Cancel));
        await Refused("limit", () => store.ReadAsync("log", 0, 10_001, Cancel));
        await Refused("limit", () => store.ReadLastAsync("log", 0, Cancel));
        await Refused("lease", () => store.AcquireAsync("l", "h", TimeSpan.Zero, Cancel));
        await Refused("0 or more", () => store.PutAsync("k", default, -1, null, Cancel));

        await Task.WhenAll(Enumerable.Range(0, 10_000).Select(i => store.PutAsync($"many/{i:00000}", default, null, null, Cancel)));
        Assert.Equal(10_000, (await store.ListAsync("many/", Cancel)).Count);
        await store.PutAsync("many/10000", default, null, null, Cancel);
        await Refused("longer prefix", () => store.ListAsync("many/", Cancel));

        static async Task Refused(string word, Func<Task> act) => Assert.Contains(word, (await Assert.ThrowsAsync<StoreException>(act)).Message, StringComparison.Ordinal);
    }

    [Fact(Timeout = 20_000)]
    public async Task Cancelled_BeforeItBegins_WritesNothing()
    {
        using var under = Make();
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => under.Store.PutAsync("k", Bytes("1"), null, null, cancelled.Token));
        await under.Store.PutAsync("after", Bytes("1"), null, null, Cancel);
        Assert.Null(await under.Store.GetAsync("k", Cancel));
    }

    /// <summary>Any sequence of operations, with restarts between, answers as a plain dictionary would.</summary>
    [Fact(Timeout = 120_000)]
    public async Task Operations_AnySequence_AgreeWithAModel()
    {
        var operation = Gen.Select(Gen.Int[0, 5], Gen.Int[0, 3], Gen.Int[0, 3], Gen.Byte);
        await operation.List[1, 40].SampleAsync(async operations =>
        {
            using var under = Make();
            var keys = new Dictionary<string, (byte Value, long Version)>();
            var logs = new Dictionary<string, List<byte>>();
            foreach (var (kind, k, guess, value) in operations)
            {
                var key = $"k{k}";
                var actual = keys.TryGetValue(key, out var known) ? known.Version : 0;
                long? expected = guess switch { 0 => null, 1 => actual, 2 => 0, _ => actual + 1 };
                switch (kind)
                {
                    case 0:
                    case 1:
                        var put = await under.Store.PutAsync(key, new[] { value }, expected, null, Cancel);
                        if (expected is null || expected == actual)
                            keys[key] = (value, Version(put));
                        else
                            Assert.Equal(actual, Assert.IsType<StoreWrite.Conflict>(put).Actual);
                        break;
                    case 2:
                        var deleted = await under.Store.DeleteAsync(key, expected, null, Cancel);
                        if (expected is null || expected == actual)
                            keys.Remove(key);
                        else
                            Assert.IsType<StoreWrite.Conflict>(deleted);
                        break;
                    case 3:
                        var log = logs.TryGetValue(key, out var list) ? list : logs[key] = [];
                        Assert.Equal(log.Count + 1, Version(await under.Store.AppendAsync(key, new[] { value }, log.Count, null, Cancel)));
                        log.Add(value);
                        break;
                    case 4:
                        under.Restart();
                        break;
                    default:
                        Assert.Equal(keys.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (pair.Key, pair.Value.Value, pair.Value.Version)),
                            (await under.Store.ListAsync("", Cancel)).Select(entry => (entry.Key, entry.Value.Span[0], entry.Version)));
                        Assert.Equal(logs.GetValueOrDefault(key) ?? [], (await under.Store.ReadAsync(key, 0, 100, Cancel)).Select(record => record.Value.Span[0]));
                        break;
                }
            }
        }, iter: 60, threads: 1);
    }
}
