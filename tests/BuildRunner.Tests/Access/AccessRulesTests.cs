using BuildRunner.Client.Access;
using BuildRunner.Server.Access;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Access;

public sealed class AccessRulesTests
{
    [Theory]
    [InlineData("localhost", true)]
    [InlineData("LOCALHOST", true)]
    [InlineData("127.0.0.1", true)]
    [InlineData("127.9.0.1", true)]
    [InlineData("[::1]", true)]
    [InlineData("br.example", true)]
    [InlineData("evil.example", false)]
    [InlineData("localhost.evil.example", false)]
    [InlineData("127.0.0.1.evil.example", false)]
    [InlineData("10.0.0.1", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("", false)]
    public void HostAllowed_Names_AreLoopbacksOrConfigured(string host, bool allowed) => Assert.Equal(allowed, AccessRules.HostAllowed(host, ["br.example"]));

    [Theory]
    [InlineData("same-origin", null, true)]
    [InlineData("same-origin", "http://127.0.0.1:8400", true)]
    [InlineData(null, "http://127.0.0.1:8400", true)]
    [InlineData("same-origin", "http://evil.example", false)]
    [InlineData("same-site", null, false)] // another port of this machine is the same site to a browser
    [InlineData("cross-site", null, false)]
    [InlineData("none", null, false)]
    [InlineData(null, "http://127.0.0.1:9999", false)]
    [InlineData(null, "https://127.0.0.1:8400", false)]
    [InlineData(null, "null", false)]
    [InlineData(null, null, false)]
    public void SameOrigin_WhatTheBrowserSays_Decides(string? site, string? origin, bool same) => Assert.Equal(same, AccessRules.SameOrigin("http", "127.0.0.1:8400", site, origin));

    [Theory]
    [InlineData("GET", false, false)]
    [InlineData("HEAD", false, false)]
    [InlineData("GET", true, true)]
    [InlineData("POST", false, true)]
    [InlineData("DELETE", false, true)]
    [InlineData("get", false, true)] // methods are case-sensitive: what is not GET is taken for the worse
    public void MayChange_Methods(string method, bool upgrades, bool may) => Assert.Equal(may, AccessRules.MayChange(method, upgrades));

    [Theory]
    [InlineData(AccessRole.Viewer, null, null, true)]
    [InlineData(AccessRole.Viewer, "Ann", null, true)]
    [InlineData(AccessRole.Viewer, null, "us-east-1", false)]
    [InlineData(AccessRole.Agent, null, "us-east-1", true)]
    [InlineData(AccessRole.Agent, null, null, false)]
    [InlineData(AccessRole.Gateway, null, "", false)]
    [InlineData(AccessRole.Gateway, null, "us/../east", false)]
    [InlineData(AccessRole.Admin, " ", null, false)]
    [InlineData(AccessRole.Admin, "a\nb", null, false)]
    public void Fault_RoleNameRegion(AccessRole role, string? name, string? region, bool fine) => Assert.Equal(fine, AccessRules.Fault(role, name, region) is null);

    [Fact]
    public void Policies_People_IncludeTheLowerAndNodesStandAlone()
    {
        Assert.Equal(["viewer", "operator", "admin", "gateway", "agent"], AccessRules.Policies.Select(policy => policy.Policy));
        Assert.All(AccessRules.Policies.Take(3), policy => Assert.DoesNotContain(AccessRole.Agent, policy.Roles));
        Assert.All(AccessRules.Policies.Skip(3), policy => Assert.Single(policy.Roles));
    }

    [Fact]
    public void FailureLimit_TwentyInAWindow_ThenTooManyUntilItEnds()
    {
        var time = new FakeTimeProvider();
        var limit = new FailureLimit(time);
        Assert.Equal((false, true), limit.Count("a"));
        for (var i = 0; i < FailureLimit.FailuresMax - 1; i++)
            Assert.Equal((false, false), limit.Count("a"));
        Assert.True(limit.Count("a").TooMany);
        Assert.False(limit.Count("b").TooMany);
        time.Advance(FailureLimit.Window + TimeSpan.FromMilliseconds(1));
        Assert.Equal((false, true), limit.Count("a"));
    }

    [Fact]
    public void FailureLimit_ManyAddresses_AreBounded()
    {
        var limit = new FailureLimit(new FakeTimeProvider());
        for (var i = 0; i < 1024; i++)
            Assert.False(limit.Count($"{i}").TooMany);
        Assert.True(limit.Count("one more").TooMany);
    }
}
