using System.Net;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Regions;
using BuildRunner.Server.Runbooks;
using BuildRunner.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace BuildRunner.Tests.Runbooks;

/// <summary>`wait`, `http` against a real server, `health.verify`.</summary>
public class GenericActionsTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("10ms", null)]
    [InlineData(null, "does not say how long")]
    [InlineData("5", "has no unit")]
    [InlineData("2h", "at most 1h")]
    [InlineData("5m", "give it a longer `timeout`")]
    public async Task Wait_For_IsCheckedBeforeAndWaited(string? span, string? problem)
    {
        var action = new WaitAction(TimeProvider.System);
        var context = Context(("for", span));
        var check = await action.CheckAsync(context, Cancel);
        if (problem is null)
        {
            Assert.Empty(check.Problems);
            Assert.IsType<ActionOutcome.Done>(await action.ActAsync(context, Cancel));
            return;
        }
        Assert.Contains(problem, Assert.Single(check.Problems), StringComparison.Ordinal);
        Assert.IsType<ActionOutcome.Refused>(await action.ActAsync(context, Cancel));
    }

    [Fact(Timeout = 30_000)]
    public async Task Http_Request_CarriesKeyAndSecret_AndItsStatusDecides()
    {
        var seen = new List<(string Method, string? Key, string? Authorization, string Body)>();
        await using var server = await ServeAsync(async http =>
        {
            using var reader = new StreamReader(http.Request.Body);
            seen.Add((http.Request.Method, http.Request.Headers["Idempotency-Key"], http.Request.Headers.Authorization, await reader.ReadToEndAsync(Cancel)));
            http.Response.StatusCode = int.Parse(http.Request.Query["s"]!, CultureInfo.InvariantCulture);
        });
        using var folder = new TempFolder();
        var secret = Path.Combine(folder.Path, "token");
        await File.WriteAllTextAsync(secret, "Bearer s3cret\n", Cancel);
        using var action = new HttpAction(new DirectNetwork());
        ActionContext Call(int status, string method = "GET", string? expect = null) => Context(
            ("url", $"{server.Urls.First()}/x?s={status}"), ("method", method), ("expect", expect), ("header.Authorization", $"file:{secret}"), ("body", method == "POST" ? "{}" : null));

        Assert.Equal("201", Assert.IsType<ActionOutcome.Done>(await action.ActAsync(Call(201, "POST"), Cancel)).Outputs["status"]);
        Assert.Equal(("POST", "run/step", "Bearer s3cret", "{}"), seen[^1]);
        Assert.IsType<ActionOutcome.Done>(await action.ActAsync(Call(404, expect: "200, 404"), Cancel));
        var failed = Assert.IsType<ActionOutcome.Failed>(await action.ActAsync(Call(503), Cancel));
        Assert.True(failed.Unknown);
        Assert.DoesNotContain("s=503", failed.Error, StringComparison.Ordinal); // a query may hold a secret
        Assert.False(Assert.IsType<ActionOutcome.Failed>(await action.ActAsync(Call(302), Cancel)).Unknown);
        Assert.IsType<ActionVerdict.So>(await action.VerifyAsync(Call(200), Cancel));
        Assert.IsType<ActionVerdict.NotSo>(await action.VerifyAsync(Call(500), Cancel));
        var asked = seen.Count;
        Assert.IsType<ActionVerdict.Unknown>(await action.VerifyAsync(Call(200, "POST"), Cancel));
        Assert.Equal(asked, seen.Count); // a look never sends what may change something
    }

    /// <summary>Who may give inputs must not read the server's files with them.</summary>
    [Fact(Timeout = 30_000)]
    public async Task Http_InputThatLooksLikeAReference_IsSentAsText()
    {
        var body = "";
        await using var server = await ServeAsync(async http =>
        {
            using var reader = new StreamReader(http.Request.Body);
            body = await reader.ReadToEndAsync(Cancel);
        });
        using var action = new HttpAction(new DirectNetwork());
        var context = Context(("url", server.Urls.First()), ("method", "POST"), ("body", "file:/etc/passwd")) with { Written = new Dictionary<string, string> { ["body"] = "${text}" } };
        Assert.IsType<ActionOutcome.Done>(await action.ActAsync(context, Cancel));
        Assert.Equal("file:/etc/passwd", body);
        var header = Context(("url", server.Urls.First()), ("header.X-Token", "env:HOME")) with { Written = new Dictionary<string, string> { ["header.X-Token"] = "env:${name}" } };
        Assert.IsType<ActionOutcome.Refused>(await action.ActAsync(header, Cancel));
    }

    [Fact(Timeout = 30_000)]
    public async Task Http_NobodyAnswers_IsUnknownAndSaysSo()
    {
        using var action = new HttpAction(new DirectNetwork());
        Assert.True(Assert.IsType<ActionOutcome.Failed>(await action.ActAsync(Context(("url", "http://127.0.0.1:1/x")), Cancel)).Unknown);
        await using var server = await ServeAsync(http => Task.Delay(Timeout.Infinite, http.RequestAborted));
        Assert.Contains("did not answer within 100ms", Assert.IsType<ActionOutcome.Failed>(await action.ActAsync(Context(("url", server.Urls.First()), ("timeout", "100ms")), Cancel)).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("url", "ftp://x", "no http address")]
    [InlineData("url", "http://me:pw@x/", "name or password")]
    [InlineData("method", "GRAB", "no method")]
    [InlineData("expect", "fine", "list of statuses")]
    [InlineData("timeout", "1h", "no duration up to")]
    [InlineData("header.Authorization", "Bearer abc", "env:NAME")]
    [InlineData("header.X-Api-Key", "abc", "env:NAME")]
    [InlineData("header.X-Token", "env:BR_NO_SUCH_VARIABLE", "BR_NO_SUCH_VARIABLE of the server is not set")]
    [InlineData("body", "file:/no/such/file", "cannot be read")]
    [InlineData("ulr", "http://x", "Did you mean `url`?")]
    public async Task Http_WrongArgument_IsRefusedBefore(string name, string value, string problem)
    {
        using var action = new HttpAction(new DirectNetwork());
        var context = Context(name == "url" ? [(name, value)] : [("url", "http://127.0.0.1:1/"), (name, value)]);
        var problems = (await action.CheckAsync(context, Cancel)).Problems;
        Assert.Contains(problem, string.Join(' ', problems), StringComparison.Ordinal);
        Assert.DoesNotContain("abc", string.Join(' ', problems), StringComparison.Ordinal); // never the secret itself
        Assert.IsType<ActionOutcome.Refused>(await action.ActAsync(context, Cancel));
    }

    [Fact(Timeout = 30_000)]
    public async Task HealthVerify_RegionBecomesHealthy_IsDone_AndOneThatDoesNotFails()
    {
        var health = new RegionHealth();
        var action = new HealthVerifyAction(health);
        var east = Context(("region", "east"));
        Set(health, HealthState.Unhealthy);
        Assert.IsType<ActionVerdict.NotSo>(await action.VerifyAsync(east, Cancel));
        var waiting = action.ActAsync(east, Cancel);
        Assert.False(waiting.IsCompleted);
        Set(health, HealthState.Degraded);
        Assert.IsType<ActionVerdict.So>(await action.VerifyAsync(Context(("region", "east"), ("accept", "degraded")), Cancel));
        Set(health, HealthState.Healthy);
        Assert.IsType<ActionOutcome.Done>(await waiting);

        Set(health, HealthState.Unhealthy);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var cut = action.ActAsync(Context(("region", "east"), ("service", "api")), limit.Token);
        await limit.CancelAsync();
        Assert.Contains("api in east is unhealthy (refused)", Assert.IsType<ActionOutcome.Failed>(await cut).Error, StringComparison.Ordinal);
        Assert.Contains("Did you mean `east`?", Assert.Single((await action.CheckAsync(Context(("region", "eats")), Cancel)).Problems), StringComparison.Ordinal);
        Assert.Contains("no service 'app'", Assert.Single((await action.CheckAsync(Context(("region", "east"), ("service", "app")), Cancel)).Problems), StringComparison.Ordinal);
    }

    private static void Set(RegionHealth health, HealthState state) => health.Set(
        [new RegionVerdict { Code = "east", Health = state, Since = default, Services = [new ServiceVerdict { Service = "api", Health = state, Reason = state == HealthState.Unhealthy ? "refused" : "" }] }],
        new Dictionary<string, RegionControl>(), settled: true);

    private static ActionContext Context(params (string Name, string? Value)[] with) => new()
    {
        Run = "run",
        Step = new RunbookStep { Id = "step", Title = "Step", Action = "a" },
        Arguments = with.Where(w => w.Value is not null).ToDictionary(w => w.Name, w => w.Value!),
        Written = with.Where(w => w.Value is not null).ToDictionary(w => w.Name, w => w.Value!),
        Inputs = new Dictionary<string, string>(),
        Outputs = new Dictionary<string, string>(),
        Key = "run/step",
        Attempt = 1,
        Fence = default,
        Actor = "ada",
        Reason = "test",
        RunStartedAt = default,
    };

    private static async Task<WebApplication> ServeAsync(RequestDelegate answer)
    {
        var builder = WebApplication.CreateEmptyBuilder(new());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0));
        var app = builder.Build();
        app.Run(answer);
        await app.StartAsync(Cancel);
        return app;
    }
}
