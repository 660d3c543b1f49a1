using BuildRunner.Server.Gateway;

namespace BuildRunner.Tests.Gateway;

public sealed class ReleasePaceTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private readonly ReleasePace _pace = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task NothingWasHeld_EveryWriteGoesAndNeedNotLeave() => Assert.Null(await Enter(held: false));

    /// <summary>A hundred held writes: a few at first, one more each round, never all at once, and in their order.</summary>
    [Fact]
    public async Task HeldWrites_GoInOrderAFewAtATimeAndMoreAsTheyAreAnswered()
    {
        var waiting = Enumerable.Range(0, 100).Select(_ => Enter()).ToList();
        var (done, limit, widest) = (0, 3.0, 0);
        while (done < waiting.Count)
        {
            var under = Math.Min(waiting.Count - done, (int)limit);
            await GoneAsync(waiting, done + under);
            Assert.True(waiting.Take(done + under).All(w => w.IsCompleted), "in their order");
            widest = Math.Max(widest, under);
            for (var i = 0; i < under; i++, limit += 1 / limit)
                _pace.Leave("main", answered: true);
            done += under;
        }
        Assert.InRange(widest, 8, 16);
        Assert.Null(await Enter(held: false));
    }

    [Fact]
    public async Task ApplicationHasTooMuch_FewerGo()
    {
        var waiting = Enumerable.Range(0, 20).Select(_ => Enter()).ToList();
        Assert.Equal(3, waiting.Count(w => w.IsCompleted));
        _pace.Leave("main", answered: false);
        _pace.Leave("main", answered: false);
        await GoneAsync(waiting, 3); // one is out, and one is the limit
        _pace.Leave("main", answered: true);
        await GoneAsync(waiting, 5);
    }

    [Fact]
    public async Task WritesThatArriveMeanwhile_QueueBehindTheHeldOnes()
    {
        var held = Enumerable.Range(0, 4).Select(_ => Enter()).ToList();
        var late = Enter(held: false);
        Assert.False(held[3].IsCompleted || late.IsCompleted);
        _pace.Leave("main", answered: true);
        Assert.True(await held[3]);
        Assert.False(late.IsCompleted);
        _pace.Leave("main", answered: true);
        Assert.True(await late);
    }

    [Fact]
    public async Task UserGoesOrPatienceEnds_TheOthersGoOn()
    {
        using var gone = new CancellationTokenSource();
        var held = Enumerable.Range(0, 3).Select(_ => Enter()).ToList();
        var leaves = _pace.EnterAsync("main", true, Patience, TimeProvider.System, gone.Token).AsTask();
        var last = Enter();
        Assert.False(await _pace.EnterAsync("main", true, TimeSpan.Zero, TimeProvider.System, Cancel));
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => leaves);
        _pace.Leave("main", answered: true);
        Assert.True(await last);
        Assert.Equal(3, held.Count);
    }

    private Task<bool?> Enter(bool held = true) => _pace.EnterAsync("main", held, Patience, TimeProvider.System, Cancel).AsTask();

    private static Task GoneAsync(List<Task<bool?>> waiting, int count) =>
        Support.Eventually.TrueAsync(() => waiting.Count(w => w.IsCompleted) == count, $"{count} have gone", Cancel);
}
