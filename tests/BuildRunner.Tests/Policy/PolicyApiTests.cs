using System.Net;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Policy;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Policy;

/// <summary>The room's API on a real server: what it answers, and to whom.</summary>
public class PolicyApiTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = 60_000)]
    public async Task Policy_ShowValidateApply_AndABadOneChangesNothing()
    {
        await using var server = await TestServer.StartAsync();
        var client = new PolicyClient(server.Connect());

        var first = await client.ShowAsync(Cancel);
        Assert.Equal((Policies.Shipped, "act", "file"), (first.Text, first.Mode, first.AppliedBy));
        Assert.Contains(first.Values, v => v is { Path: "health.fall", Value: "3" } && v.Source.StartsWith("policy.yml:", StringComparison.Ordinal));

        var verdict = await client.ValidateAsync(new("health: {fall: many}"), Cancel);
        Assert.Equal(("health.fall", 1), verdict.Errors.Select(e => (e.Path, e.Line)).Single());

        var refused = await Assert.ThrowsAsync<ApiException>(() => client.ApplyAsync(new("health: {fall: many}\ncahce: {}"), Cancel));
        Assert.Equal((HttpStatusCode.BadRequest, 2, 2), (refused.Status, refused.Problem.ExitCode!.Value, refused.Problem.Errors!.Count));
        Assert.Equal(first.Hash, (await client.ShowAsync(Cancel)).Hash);

        var applied = await client.ApplyAsync(new("mode: observe\nhealth: {fall: 7}", ExpectedHash: first.Hash), Cancel);
        Assert.Equal(("observe", "admin"), (applied.Mode, applied.AppliedBy));
        var outdated = await Assert.ThrowsAsync<ApiException>(() => client.ApplyAsync(new("mode: act", ExpectedHash: first.Hash), Cancel));
        Assert.Equal(HttpStatusCode.Conflict, outdated.Status);
    }

    [Fact(Timeout = 60_000)]
    public async Task Freeze_SetShownAndLifted()
    {
        await using var server = await TestServer.StartAsync();
        var client = new PolicyClient(server.Connect());
        Assert.False((await client.FreezeAsync(Cancel)).Frozen);

        var until = DateTimeOffset.UtcNow.AddHours(2);
        await client.FreezeAsync(new FreezeOrder("stocktaking", until), Cancel);
        Assert.Equal((true, "stocktaking", "admin", until), Shape(await client.FreezeAsync(Cancel)));
        Assert.Equal("stocktaking", (await client.ShowAsync(Cancel)).Freeze?.Reason);

        await client.LiftAsync(Cancel);
        await client.LiftAsync(Cancel); // there is none: that is what was asked for
        Assert.False((await client.FreezeAsync(Cancel)).Frozen);

        static (bool, string?, string?, DateTimeOffset?) Shape(FreezeView view) => (view.Frozen, view.Reason, view.By, view.Until);
    }

    [Theory(Timeout = 60_000)]
    [InlineData(AccessRole.Viewer, true, false, false)]
    [InlineData(AccessRole.Operator, true, true, false)]
    [InlineData(AccessRole.Admin, true, true, true)]
    public async Task Roles_SeeFreezeAndApply(AccessRole role, bool sees, bool freezes, bool applies)
    {
        await using var server = await TestServer.StartAsync();
        var client = new PolicyClient(server.Connect((await server.TokenAsync(role)).Token));
        Assert.Equal(sees, await MayAsync(() => client.ShowAsync(Cancel)));
        Assert.Equal(freezes, await MayAsync(() => client.FreezeAsync(new FreezeOrder("why", DateTimeOffset.UtcNow.AddHours(1)), Cancel)));
        Assert.Equal(freezes, await MayAsync(() => client.LiftAsync(Cancel)));
        Assert.Equal(applies, await MayAsync(() => client.ApplyAsync(new("mode: act"), Cancel)));
    }

    private static async Task<bool> MayAsync(Func<Task> call)
    {
        try
        {
            await call();
            return true;
        }
        catch (ApiException error) when (error.Status == HttpStatusCode.Forbidden) { return false; }
    }
}
