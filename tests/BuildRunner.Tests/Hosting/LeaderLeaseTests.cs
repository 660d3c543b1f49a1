using BuildRunner.Server.Hosting;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Hosting;

public sealed class LeaderLeaseTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly FakeTimeProvider _time = new();

    public void Dispose() => _folder.Dispose();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private SqliteStore Open() => SqliteStore.Open(_folder.File("state.db"), _time, NullLogger.Instance);

    private LeaderLease Lease(IStore store, string id) => new(store, new ServerIdentity(id), _time, NullLogger<LeaderLease>.Instance);

    [Fact(Timeout = 20_000)]
    public async Task Current_BeforeAndAfterTheFirstPass_IsNullThenAFence()
    {
        using var store = Open();
        using var lease = Lease(store, "a");
        Assert.Null(lease.Current);
        await lease.RunOnceAsync(Cancel);
        Assert.Equal("server", lease.Current?.Lease);
    }

    [Fact(Timeout = 20_000)]
    public async Task Acting_OvertakenOrListening_IsNullWhileItStillLeads()
    {
        using var store = Open();
        var standing = new Standing(_time, listenMax: TimeSpan.FromSeconds(2));
        using var lease = new LeaderLease(store, new ServerIdentity("a"), _time, NullLogger<LeaderLease>.Instance, standing);
        await lease.RunOnceAsync(Cancel);
        Assert.NotNull(lease.Current);
        Assert.Null(lease.Acting); // it listens
        standing.Heard();
        Assert.NotNull(lease.Acting);
        standing.Judge("another server acted");
        Assert.Null(lease.Acting);
        standing.Judge(null);
        Assert.Equal(lease.Current, lease.Acting);
    }

    [Fact]
    public void Listening_NobodyIsHeard_EndsByTheClock()
    {
        var standing = new Standing(_time, listenMax: TimeSpan.FromSeconds(2));
        Assert.True(standing.Listening);
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.False(standing.Listening);
        Assert.False(new Standing(_time).Listening);
    }

    [Fact(Timeout = 20_000)]
    public async Task Current_AboveAFloor_IsAboveItAlsoAfterARestart()
    {
        using var store = Open();
        var standing = new Standing(_time, tokenFloor: 1007);
        using var first = new LeaderLease(store, new ServerIdentity("a"), _time, NullLogger<LeaderLease>.Instance, standing);
        await first.RunOnceAsync(Cancel);
        Assert.True(first.Current!.Value.Token > 1007);
        using var second = new LeaderLease(store, new ServerIdentity("a"), _time, NullLogger<LeaderLease>.Instance, standing);
        await second.RunOnceAsync(Cancel);
        Assert.True(second.Current!.Value.Token > first.Current.Value.Token);
    }

    [Fact(Timeout = 20_000)]
    public async Task Raise_AToken_IsAboveItAndTheOldOneIsRefused()
    {
        using var store = Open();
        using var lease = Lease(store, "a");
        await lease.RunOnceAsync(Cancel);
        var old = lease.Current!.Value;
        var raised = await lease.RaiseAsync(5000, Cancel);
        Assert.Equal((raised, true), (lease.Current, raised!.Value.Token > 5000));
        Assert.IsType<StoreWrite.Fenced>(await store.PutAsync("k", "v"u8.ToArray(), null, old, Cancel));
        await lease.RunOnceAsync(Cancel);
        Assert.Equal(raised, lease.Current); // a renewal keeps it
    }

    [Fact(Timeout = 20_000)]
    public async Task Current_NotRenewedForTheTtl_IsNullBeforeAnotherCanLead()
    {
        using var store = Open();
        using var mine = Lease(store, "a");
        using var theirs = Lease(store, "b");
        await mine.RunOnceAsync(Cancel);
        var old = mine.Current!.Value;
        await theirs.RunOnceAsync(Cancel);
        Assert.Null(theirs.Current);
        _time.Advance(TimeSpan.FromSeconds(10));
        Assert.Null(mine.Current);
        await theirs.RunOnceAsync(Cancel);
        Assert.True(theirs.Current?.Token > old.Token);
        await mine.RunOnceAsync(Cancel);
        Assert.Null(mine.Current);
        Assert.IsType<StoreWrite.Fenced>(await store.PutAsync("k", default, null, old, Cancel));
    }

    [Fact(Timeout = 20_000)]
    public async Task Restart_OfTheSameServer_LeadsAtOnceWithAHigherToken()
    {
        long before;
        using (var store = Open())
        using (var killed = Lease(store, "a"))
        {
            await killed.RunOnceAsync(Cancel);
            before = killed.Current!.Value.Token;
        } // no release: as after a kill
        using var again = Open();
        using var lease = Lease(again, "a");
        await lease.RunOnceAsync(Cancel);
        Assert.True(lease.Current?.Token > before);
    }

    [Fact(Timeout = 20_000)]
    public async Task Stop_Releases_SoThatAnotherLeadsAtOnce()
    {
        using var store = Open();
        using var mine = Lease(store, "a");
        using var theirs = Lease(store, "b");
        await mine.StartAsync(Cancel);
        Assert.NotNull(mine.Current);
        await mine.StopAsync(Cancel);
        Assert.Null(mine.Current);
        await theirs.RunOnceAsync(Cancel);
        Assert.NotNull(theirs.Current);
    }

    [Fact]
    public void Identity_SameFolder_StaysTheSame()
    {
        var id = ServerIdentity.Load(_folder.Path).Id;
        Assert.Equal(id, ServerIdentity.Load(_folder.Path).Id);
        Assert.Equal(32, id.Length);
    }
}
