using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Access;
using BuildRunner.Client.Events;
using BuildRunner.Server.Access;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Support;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace BuildRunner.Tests.Access;

public sealed class AccessTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>The only endpoints that anyone may call.</summary>
    private static readonly string[] Open = ["GET /healthz", "POST /v1/session", "DELETE /v1/session"];

    [Fact(Timeout = 60_000)]
    public async Task Matrix_EveryEndpointAndRole_IsAsItsPolicySays()
    {
        await using var server = await TestServer.StartAsync();
        var callers = new Dictionary<string, string?> { ["nobody"] = null };
        foreach (var role in Enum.GetValues<AccessRole>())
            callers[AccessRules.Word(role)] = (await server.TokenAsync(role, AccessRules.IsNode(role) ? "us-east-1" : null)).Token;

        var wrong = new List<string>();
        foreach (var endpoint in server.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>())
        {
            foreach (var method in endpoint.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? ["GET"])
            {
                var name = $"{method} {endpoint.RoutePattern.RawText}";
                if (!name.Contains("/v1/", StringComparison.Ordinal) && !Open.Contains(name))
                    continue; // the page's own: public by nature, its data comes from /v1
                var open = endpoint.Metadata.GetMetadata<IAllowAnonymous>() is not null;
                if (open != Open.Contains(name))
                    wrong.Add($"{name}: {(open ? "open to anyone, and not on the list" : "on the list of open ones, but closed")}");
                if (open)
                    continue;
                var policy = endpoint.Metadata.GetMetadata<IAuthorizeData>()?.Policy;
                if (policy is null && endpoint.Metadata.GetMetadata<AuthorizationPolicy>() is null)
                    wrong.Add($"{name}: names no policy");
                var letIn = AccessRules.Policies.FirstOrDefault(row => row.Policy == policy).Roles;
                foreach (var (caller, token) in callers)
                {
                    // Those who are let in are not tried here: a call could act. That they are is seen in the rooms' own tests.
                    if (letIn is null || letIn.Any(role => AccessRules.Word(role) == caller))
                        continue;
                    using var http = server.Http(token);
                    var path = "/" + string.Join('/', endpoint.RoutePattern.PathSegments.Select(segment => string.Concat(segment.Parts.Select(part => part is Microsoft.AspNetCore.Routing.Patterns.RoutePatternLiteralPart literal ? literal.Content : "us-east-1"))));
                    using var answer = await http.SendAsync(new HttpRequestMessage(new HttpMethod(method), path) { Content = method is "GET" ? null : JsonContent.Create(new EventNote { Summary = "x" }, EventsJson.Default.EventNote) }, Cancel);
                    var expected = token is null ? HttpStatusCode.Unauthorized : HttpStatusCode.Forbidden;
                    if (answer.StatusCode != expected && !(token is null && answer.StatusCode == HttpStatusCode.TooManyRequests))
                        wrong.Add($"{name} by {caller}: {(int)answer.StatusCode} instead of {(int)expected}");
                }
            }
        }
        Assert.Empty(wrong);
    }

    [Theory(Timeout = 60_000)]
    [InlineData("GET", "/v1/version", 200, 200, 200, 403, 403)]
    [InlineData("GET", "/v1/events", 200, 200, 200, 403, 403)]
    [InlineData("POST", "/v1/events", 403, 201, 201, 403, 403)]
    [InlineData("GET", "/v1/tokens", 403, 403, 200, 403, 403)]
    [InlineData("GET", "/v1/session", 200, 200, 200, 200, 200)]
    [InlineData("POST", "/v1/nodes/gateway/us-east-1/results", 403, 403, 403, 204, 403)]
    [InlineData("POST", "/v1/nodes/agent/us-east-1/results", 403, 403, 403, 403, 204)]
    [InlineData("POST", "/v1/nodes/agent/us-west-1/results", 403, 403, 403, 403, 403)]
    [InlineData("POST", "/v1/nodes/gateway/us-west-1/poll", 403, 403, 403, 403, 403)]
    [InlineData("POST", "/v1/agents/us-west-1/report", 403, 403, 403, 403, 403)]
    [InlineData("POST", "/v1/gateways/us-west-1/report", 403, 403, 403, 403, 403)]
    public async Task Matrix_ThisRoomsAndTheNodes(string method, string path, int viewer, int operator_, int admin, int gateway, int agent)
    {
        await using var server = await TestServer.StartAsync();
        var expected = new[] { viewer, operator_, admin, gateway, agent };
        var seen = new List<int>();
        foreach (var role in Enum.GetValues<AccessRole>())
        {
            using var http = server.Http((await server.TokenAsync(role, AccessRules.IsNode(role) ? "us-east-1" : null)).Token);
            using var content = method == "GET" ? null : new StringContent("""{"summary":"x","id":"o1","done":true,"incarnation":"i"}""", Encoding.UTF8, "application/json");
            using var answer = await http.SendAsync(new HttpRequestMessage(new HttpMethod(method), path) { Content = content }, Cancel);
            seen.Add((int)answer.StatusCode);
        }
        Assert.Equal(expected, seen);
    }

    [Theory(Timeout = 30_000)]
    [InlineData("Basic YnI6eA==")]
    [InlineData("Bearer")]
    [InlineData("Bearer ")]
    [InlineData("Bearer br_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    [InlineData("Bearer not-ours")]
    public async Task WrongToken_IsRefusedAndNeverLogged(string header)
    {
        await using var server = await TestServer.StartAsync();
        using var http = server.Http();
        http.DefaultRequestHeaders.TryAddWithoutValidation("Authorization", header);
        using var answer = await http.GetAsync("/v1/events", Cancel);
        Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);
        var problem = await TestServer.ProblemAsync(answer);
        Assert.Equal(("https://buildrunner.dev/problems/access.not-signed-in", 5), (problem.Type, problem.ExitCode));
        await server.StopAsync();
        var log = await File.ReadAllTextAsync(Path.Combine(server.Folder, "server.log"), Cancel);
        Assert.DoesNotContain("AAAAAAAA", log, StringComparison.Ordinal);
        Assert.DoesNotContain(server.AdminToken, log, StringComparison.Ordinal);
    }

    [Fact(Timeout = 30_000)]
    public async Task ManyFailures_AreLimited_AndAValidTokenPassesAllTheSame()
    {
        await using var server = await TestServer.StartAsync();
        using var http = server.Http("br_wrong");
        var answers = new List<HttpStatusCode>();
        for (var i = 0; i < FailureLimit.FailuresMax + 5; i++)
        {
            using var answer = await http.GetAsync("/v1/events", Cancel);
            answers.Add(answer.StatusCode);
        }
        Assert.Equal(FailureLimit.FailuresMax, answers.Count(status => status == HttpStatusCode.Unauthorized));
        Assert.Equal(HttpStatusCode.TooManyRequests, answers[^1]);
        Assert.NotEmpty((await new EventsClient(server.Connect()).ListAsync(10, Cancel)).Events);
    }

    [Fact(Timeout = 30_000)]
    public async Task FirstStart_MakesAnAdministratorsToken_AndKeepsOnlyItsHash()
    {
        using var folder = new TempFolder();
        string token;
        await using (var server = await TestServer.StartAsync(folder.Path))
        {
            token = server.AdminToken;
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(folder.File("token")));
            Assert.Equal(AccessRole.Admin, (await new AccessClient(server.Connect()).WhoAmIAsync(Cancel)).Role);
        }
        foreach (var file in Directory.GetFiles(folder.Path).Where(file => !file.EndsWith("/token", StringComparison.Ordinal)))
            Assert.DoesNotContain(token, Encoding.Latin1.GetString(await File.ReadAllBytesAsync(file, Cancel)), StringComparison.Ordinal);
        await using var again = await TestServer.StartAsync(folder.Path);
        Assert.Equal(token, again.AdminToken);
        Assert.Single((await new AccessClient(again.Connect()).ListAsync(Cancel)).Tokens);
    }

    [Fact(Timeout = 30_000)]
    public async Task TokenFile_OpenToOthers_EndsTheStart()
    {
        using var folder = new TempFolder();
        await File.WriteAllTextAsync(folder.File("token"), AccessToken.New(), Cancel);
        File.SetUnixFileMode(folder.File("token"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead);
        Assert.Contains("chmod 600", (await Assert.ThrowsAsync<AccessException>(() => TestServer.StartAsync(folder.Path))).Message, StringComparison.Ordinal);
    }

    [Fact(Timeout = 30_000)]
    public async Task Revoked_IsRefusedFromThenOnAlsoAfterARestart_AndBothAreEvents()
    {
        using var folder = new TempFolder();
        string token;
        await using (var server = await TestServer.StartAsync(folder.Path))
        {
            var access = new AccessClient(server.Connect());
            var created = await access.CreateAsync(new TokenRequest { Role = AccessRole.Operator, Name = "Ann" }, Cancel);
            token = created.Token;
            Assert.Equal("Ann", (await new EventsClient(server.Connect(token)).AddAsync("deployed", Cancel)).Actor);
            await access.RevokeAsync(created.Row.Id, Cancel);
            Assert.Equal(HttpStatusCode.Unauthorized, (await Assert.ThrowsAsync<ApiException>(() => new EventsClient(server.Connect(token)).ListAsync(1, Cancel))).Status);
            var kinds = (await new EventsClient(server.Connect()).ListAsync(100, Cancel)).Events.Select(row => row.Kind).Where(kind => kind is "note" || kind.StartsWith("token.", StringComparison.Ordinal));
            Assert.Equal(["token.created", "token.created", "note", "token.revoked"], kinds);
            Assert.Equal(HttpStatusCode.NotFound, (await Assert.ThrowsAsync<ApiException>(() => access.RevokeAsync(created.Row.Id, Cancel))).Status);
        }
        await using var again = await TestServer.StartAsync(folder.Path);
        Assert.Equal(HttpStatusCode.Unauthorized, (await Assert.ThrowsAsync<ApiException>(() => new EventsClient(again.Connect(token)).ListAsync(1, Cancel))).Status);
    }

    [Fact(Timeout = 30_000)]
    public async Task Revoke_TheLastAdministrator_IsRefused()
    {
        await using var server = await TestServer.StartAsync();
        var access = new AccessClient(server.Connect());
        var id = (await access.ListAsync(Cancel)).Tokens.Single().Id;
        var refused = await Assert.ThrowsAsync<ApiException>(() => access.RevokeAsync(id, Cancel));
        Assert.Equal(4, refused.Problem.ExitCode);
        await server.TokenAsync(AccessRole.Admin);
        await access.RevokeAsync(id, Cancel);
    }

    [Fact(Timeout = 60_000)]
    public async Task Seeds_AreKnownFromTheStart_AndRevokedOnesStayRevoked()
    {
        using var folder = new TempFolder();
        var (agent, viewer) = (AccessToken.New(), AccessToken.New());
        var seeds = folder.File("seeds.json");
        await File.WriteAllBytesAsync(seeds, SeedToken.File([
            new SeedToken { Name = "agent/eu-west-1", Role = AccessRole.Agent, Region = "eu-west-1", Hash = AccessToken.HashText(agent) },
            new SeedToken { Name = "eve", Role = AccessRole.Viewer, Hash = AccessToken.HashText(viewer) }]), Cancel);
        File.SetUnixFileMode(seeds, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var data = folder.File("data");
        await using (var server = await TestServer.StartAsync(data, seedTokens: seeds))
        {
            var me = await new AccessClient(server.Connect(agent)).WhoAmIAsync(Cancel);
            Assert.Equal((AccessRole.Agent, "eu-west-1"), (me.Role, me.Region));
            await new AccessClient(server.Connect()).RevokeAsync(AccessToken.IdOf(AccessToken.HashText(viewer)), Cancel);
        }
        await using (var server = await TestServer.StartAsync(data, seedTokens: seeds))
        {
            Assert.Equal("agent/eu-west-1", (await new AccessClient(server.Connect(agent)).WhoAmIAsync(Cancel)).Name);
            await Assert.ThrowsAsync<ApiException>(() => new AccessClient(server.Connect(viewer)).WhoAmIAsync(Cancel));
        }
        File.SetUnixFileMode(seeds, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead);
        await Assert.ThrowsAsync<AccessException>(() => TestServer.StartAsync(data, seedTokens: seeds));
    }

    [Fact(Timeout = 60_000)]
    public async Task Session_SignIn_GivesAStrictCookieThatWorksOnlyFromItsOwnPage()
    {
        await using var server = await TestServer.StartAsync();
        using var http = server.Http();
        using var signedIn = await http.PostAsync("/v1/session", JsonContent.Create(new SignIn { Token = server.AdminToken }, AccessJson.Default.SignIn), Cancel);
        Assert.Equal(HttpStatusCode.OK, signedIn.StatusCode);
        var set = Assert.Single(signedIn.Headers.GetValues("Set-Cookie"));
        Assert.Contains("httponly", set, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("samesite=strict", set, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(server.AdminToken, set, StringComparison.Ordinal);
        var cookie = set.Split(';')[0];

        Assert.Equal(200, await CallAsync(HttpMethod.Get, null, null));
        Assert.Equal(403, await CallAsync(HttpMethod.Post, null, null)); // no browser says nothing
        Assert.Equal(403, await CallAsync(HttpMethod.Post, "cross-site", "http://evil.example"));
        Assert.Equal(403, await CallAsync(HttpMethod.Post, "same-site", $"http://127.0.0.1:{server.Port + 1}"));
        Assert.Equal(201, await CallAsync(HttpMethod.Post, "same-origin", server.Address.GetLeftPart(UriPartial.Authority)));

        await using var store = new StoreView(server);
        Assert.DoesNotContain(await store.KeysAsync("sessions/"), key => key.Contains(cookie.Split('=')[1], StringComparison.Ordinal));

        using (var signOut = new HttpRequestMessage(HttpMethod.Delete, "/v1/session") { Headers = { { "Cookie", cookie }, { "Sec-Fetch-Site", "same-origin" } } })
        {
            using var signedOut = await http.SendAsync(signOut, Cancel);
            Assert.Equal(HttpStatusCode.NoContent, signedOut.StatusCode);
        }
        Assert.Equal(401, await CallAsync(HttpMethod.Get, null, null));

        async Task<int> CallAsync(HttpMethod method, string? site, string? origin)
        {
            using var request = new HttpRequestMessage(method, "/v1/events") { Headers = { { "Cookie", cookie } } };
            if (method == HttpMethod.Post)
                request.Content = JsonContent.Create(new EventNote { Summary = "x" }, EventsJson.Default.EventNote);
            if (site is not null)
                request.Headers.Add("Sec-Fetch-Site", site);
            if (origin is not null)
                request.Headers.Add("Origin", origin);
            using var answer = await http.SendAsync(request, Cancel);
            return (int)answer.StatusCode;
        }
    }

    [Fact(Timeout = 30_000)]
    public async Task Session_EndsWithItsToken_AndIsNotForNodes()
    {
        await using var server = await TestServer.StartAsync();
        using var http = server.Http();
        var agent = await server.TokenAsync(AccessRole.Agent, "us-east-1");
        Assert.Equal(HttpStatusCode.Forbidden, (await SignInAsync(agent.Token)).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await SignInAsync("br_guess")).StatusCode);
        var viewer = await server.TokenAsync(AccessRole.Viewer);
        var cookie = (await SignInAsync(viewer.Token)).Headers.GetValues("Set-Cookie").Single().Split(';')[0];
        await new AccessClient(server.Connect()).RevokeAsync(viewer.Row.Id, Cancel);
        using var answer = await http.SendAsync(new HttpRequestMessage(HttpMethod.Get, "/v1/events") { Headers = { { "Cookie", cookie } } }, Cancel);
        Assert.Equal(HttpStatusCode.Unauthorized, answer.StatusCode);

        Task<HttpResponseMessage> SignInAsync(string token) => http.PostAsync("/v1/session", JsonContent.Create(new SignIn { Token = token }, AccessJson.Default.SignIn), Cancel);
    }

    [Fact(Timeout = 30_000)]
    public async Task Session_SignInFromAStrangersPage_IsRefused()
    {
        await using var server = await TestServer.StartAsync();
        using var http = server.Http();
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/session") { Content = JsonContent.Create(new SignIn { Token = server.AdminToken }, AccessJson.Default.SignIn), Headers = { { "Origin", "http://evil.example" } } };
        using var answer = await http.SendAsync(request, Cancel);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
    }

    [Theory(Timeout = 30_000)]
    [InlineData("evil.example")]
    [InlineData("evil.example:8400")]
    [InlineData("127.0.0.1.evil.example")]
    public async Task ForeignHost_IsRefusedBeforeAnythingElse(string host)
    {
        await using var server = await TestServer.StartAsync();
        using var http = server.Http(server.AdminToken);
        http.DefaultRequestHeaders.Host = host;
        using var answer = await http.GetAsync("/v1/tokens", Cancel);
        Assert.Equal(HttpStatusCode.MisdirectedRequest, answer.StatusCode);
    }

    [Fact(Timeout = 30_000)]
    public async Task BadBodies_AreProblemsOfTheCaller()
    {
        await using var server = await TestServer.StartAsync();
        using var http = server.Http(server.AdminToken);
        foreach (var body in new[] { "{", "[]", "{\"role\":\"king\"}", "{\"role\":3}", "{}", "null" })
        {
            using var answer = await http.PostAsync("/v1/tokens", new StringContent(body, Encoding.UTF8, "application/json"), Cancel);
            Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
            Assert.Equal(2, (await TestServer.ProblemAsync(answer)).ExitCode);
        }
        using var missing = await http.GetAsync("/v1/nowhere", Cancel);
        Assert.Equal("https://buildrunner.dev/problems/hosting.no-such-path", (await TestServer.ProblemAsync(missing)).Type);
        using var text = await http.PostAsync("/v1/tokens", new StringContent("x", Encoding.UTF8, "text/plain"), Cancel);
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, text.StatusCode);
    }

    [Fact]
    public void Listen_BeyondLoopback_NeedsConsent()
    {
        using var folder = new TempFolder();
        var refused = Assert.Throws<BuildRunner.Cli.CliException>(() => ServerRole.Build(new ServerRoleOptions { DataFolder = folder.Path, Listen = new IPEndPoint(IPAddress.Any, 0), LogToTerminal = false }));
        Assert.Contains("--insecure-listen", refused.Message, StringComparison.Ordinal);
    }

    private sealed class StoreView(TestServer server) : IAsyncDisposable
    {
        public async Task<IEnumerable<string>> KeysAsync(string prefix) =>
            (await server.Services.GetRequiredService<IStore>().ListAsync(prefix, Cancel)).Select(entry => entry.Key + Encoding.UTF8.GetString(entry.Value.Span));

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
