using System.Text;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Events;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Policy;

/// <summary>The applied policy over a real store and a real file.</summary>
public sealed class PolicySourceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("br-policy-").FullName;
    private readonly FakeTimeProvider _time = new(new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly SqliteStore _store;
    private readonly EventLog _events;

    public PolicySourceTests()
    {
        _store = SqliteStore.Open(Path.Combine(_folder, "state.db"), _time, NullLogger.Instance);
        _events = new(_store, _time, NullLogger<EventLog>.Instance);
    }

    private string File_ => Path.Combine(_folder, "policy.yml");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _store.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact(Timeout = 20_000)]
    public async Task Load_GoodFile_IsInForceAndKept()
    {
        var source = await LoadAsync("health: {fall: 5}");
        Assert.Equal(5, source.Current.Health.Fall);

        // Another start without the file: the store has it.
        File.Delete(File_);
        using var again = Make();
        await again.LoadAsync(Cancel);
        Assert.Equal((5, source.Hash), (again.Current.Health.Fall, again.Hash));
    }

    [Fact(Timeout = 20_000)]
    public async Task Load_BadFileAndEmptyStore_IsRefusedWithEveryError()
    {
        await File.WriteAllTextAsync(File_, "health: {fall: many}\ncahce: {}\n", Cancel);
        using var source = Make();
        var refused = await Assert.ThrowsAsync<PolicyRefusedException>(() => source.LoadAsync(Cancel));
        Assert.Equal(2, refused.Errors.Count);
        Assert.Null(await _store.GetAsync(PolicyKeys.Current, Cancel));
    }

    [Fact(Timeout = 20_000)]
    public async Task Load_NoFileAndEmptyStore_SaysWhichIsMissing()
    {
        using var source = Make();
        var refused = await Assert.ThrowsAsync<PolicyRefusedException>(() => source.LoadAsync(Cancel));
        Assert.Contains(File_, refused.Message, StringComparison.Ordinal);
    }

    [Fact(Timeout = 20_000)]
    public async Task Look_BadChange_KeepsServingAndIsShown_GoodChangeIsTakenUp()
    {
        var source = await LoadAsync("health: {fall: 5}");
        var told = 0;
        using var registration = source.OnChange(() => told++);

        await ChangeAsync(source, "health: {fall: many}");
        Assert.Equal(5, source.Current.Health.Fall);
        var rejected = Assert.Single(source.Rejected!.Errors);
        Assert.Equal(("health.fall", 1), (rejected.Path, rejected.Line));

        // It is said once, and a restart keeps both the policy and the refusal.
        await SettleAsync(source);
        Assert.Single(await EventsAsync("policy.rejected"));
        using (var again = Make())
        {
            await again.LoadAsync(Cancel);
            Assert.Equal(5, again.Current.Health.Fall);
            Assert.NotNull(again.Rejected);
        }

        await ChangeAsync(source, "health: {fall: 6}");
        Assert.Equal(6, source.Current.Health.Fall);
        Assert.Null(source.Rejected);
        Assert.Equal(2, (await EventsAsync("policy.applied")).Count);
        Assert.True(told >= 2);
    }

    [Fact(Timeout = 20_000)]
    public async Task Look_FileStillBeingWritten_IsLeftAlone()
    {
        var source = await LoadAsync("health: {fall: 5}");
        await File.WriteAllTextAsync(File_, "health: {fall: 6}", Cancel);
        await source.LookAsync(Cancel);
        Assert.Equal(5, source.Current.Health.Fall);
        await File.WriteAllTextAsync(File_, "health: {fall: 7}", Cancel);
        _time.Advance(TimeSpan.FromSeconds(1));
        await source.LookAsync(Cancel); // it changed again meanwhile
        Assert.Equal(5, source.Current.Health.Fall);
        _time.Advance(TimeSpan.FromSeconds(1));
        await source.LookAsync(Cancel);
        Assert.Equal(7, source.Current.Health.Fall);
    }

    [Fact(Timeout = 20_000)]
    public async Task Apply_OverAFile_StaysUntilTheFileChanges()
    {
        var source = await LoadAsync("health: {fall: 5}");
        Assert.IsType<PolicyOutcome.Applied>(await ApplyAsync(source, "health: {fall: 8}"));
        await SettleAsync(source);
        using var again = Make();
        await again.LoadAsync(Cancel);
        Assert.Equal((8, 8), (source.Current.Health.Fall, again.Current.Health.Fall));

        await ChangeAsync(source, "health: {fall: 9}");
        await SettleAsync(again);
        Assert.Equal((9, 9), (source.Current.Health.Fall, again.Current.Health.Fall));
    }

    [Fact(Timeout = 20_000)]
    public async Task Apply_BadOrOutdated_ChangesNothing()
    {
        var source = await LoadAsync("health: {fall: 5}");
        Assert.IsType<PolicyOutcome.Refused>(await ApplyAsync(source, "health: {fall: 0}"));
        Assert.IsType<PolicyOutcome.Conflict>(await ApplyAsync(source, "health: {fall: 6}", expected: "another"));
        Assert.Equal(5, source.Current.Health.Fall);
        Assert.IsType<PolicyOutcome.Applied>(await ApplyAsync(source, "health: {fall: 6}", expected: source.Hash));
        Assert.Equal(6, source.Current.Health.Fall);
    }

    [Fact(Timeout = 20_000)]
    public async Task Freeze_HoldsUntilItsEndOrItsLift()
    {
        var source = await LoadAsync("mode: act");
        Assert.Null(source.Freeze);
        await source.SetFreezeAsync(new("stocktaking", "ann", _time.GetUtcNow(), _time.GetUtcNow().AddHours(2)), Cancel);
        using var again = Make();
        await again.LoadAsync(Cancel);
        Assert.Equal("stocktaking", again.Freeze?.Reason);

        _time.Advance(TimeSpan.FromHours(2));
        Assert.Null(source.Freeze);
        await source.LookAsync(Cancel);
        Assert.Single(await EventsAsync("freeze.ended"));
        Assert.Null(await _store.GetAsync(PolicyKeys.Freeze, Cancel));

        await source.SetFreezeAsync(new("again", "ann", _time.GetUtcNow(), _time.GetUtcNow().AddHours(2)), Cancel);
        Assert.True(await source.LiftFreezeAsync("bob", Cancel));
        Assert.Null(source.Freeze);
        Assert.False(await source.LiftFreezeAsync("bob", Cancel));
    }

    [Theory]
    [InlineData("why", 1, true)]
    [InlineData("why", 30 * 24, true)]
    [InlineData("why", (30 * 24) + 1, false)]
    [InlineData("why", 0, false)]
    [InlineData(" ", 1, false)]
    [InlineData("two\nlines", 1, false)]
    public void FreezeWrong_AtTheLimits(string reason, int hours, bool good) =>
        Assert.Equal(good, PolicyRoom.FreezeWrong(new(reason, _time.GetUtcNow().AddHours(hours)), _time.GetUtcNow()) is null);

    [Theory]
    [InlineData("2h", "2026-01-01T02:00:00Z")]
    [InlineData("3 days", "2026-01-04T00:00:00Z")]
    [InlineData("2026-01-05T18:00Z", "2026-01-05T18:00:00Z")]
    [InlineData("2026-01-05T18:00+02:00", "2026-01-05T16:00:00Z")]
    [InlineData("2026-01-05", "2026-01-05T00:00:00Z")]
    public void Until_TimeOrDuration_IsRead(string text, string expected) =>
        Assert.Equal(DateTimeOffset.Parse(expected, CultureInfo.InvariantCulture), Cli.FreezeCommands.Until(text, _time.GetUtcNow()));

    private PolicySource Make() => new(_store, _events, new() { File = File_, Variables = new Dictionary<string, string>() }, _time, NullLogger<PolicySource>.Instance);

    private async Task<PolicySource> LoadAsync(string text)
    {
        await File.WriteAllTextAsync(File_, text, Cancel);
        var source = Make();
        await source.LoadAsync(Cancel);
        return source;
    }

    private async Task ChangeAsync(PolicySource source, string text)
    {
        await File.WriteAllTextAsync(File_, text, Cancel);
        await SettleAsync(source);
    }

    private async Task SettleAsync(PolicySource source)
    {
        await source.LookAsync(Cancel);
        _time.Advance(TimeSpan.FromSeconds(1));
        await source.LookAsync(Cancel);
    }

    private static Task<PolicyOutcome> ApplyAsync(PolicySource source, string text, string? expected = null) =>
        source.ApplyAsync(Encoding.UTF8.GetBytes(text), "policy.yml", "ann", expected, Cancel);

    private async Task<IReadOnlyList<EventEntry>> EventsAsync(string kind) => [.. (await _events.ListAsync(100, Cancel)).Where(e => e.Kind == kind)];
}
