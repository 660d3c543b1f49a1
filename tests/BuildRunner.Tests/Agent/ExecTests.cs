using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Recovery;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Agent;

/// <summary>The action `exec` over an agent's own desk: real processes, no shell, and only what the policy lists.</summary>
public sealed class ExecTests : IAsyncDisposable
{
    private const string Region = "us-east-1";
    private readonly TempFolder _folder = new();
    private readonly AgentHost _agent;

    public ExecTests() => _agent = new AgentHost(_folder.Path, Region);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _agent.DisposeAsync();
        _folder.Dispose();
    }

    [Fact(Timeout = 60_000)]
    public async Task Exec_AListedCommand_RunsOnceUnderItsKey_WithoutAShell()
    {
        var marks = _folder.File("marks");
        var action = Action(Command("mark", "/bin/sh", "-c", $"echo \"$BR_IDEMPOTENCY_KEY\" >> {marks}; echo out; echo err >&2"), Command("plain", "/bin/echo", "a;b", "$HOME"));
        var context = Context("mark");
        var done = Assert.IsType<ActionOutcome.Done>(await action.ActAsync(context, Cancel));
        Assert.Equal("0", done.Outputs["exit_code"]);
        Assert.Equal(["err", "out"], done.Outputs["output"].Split('\n').Order(StringComparer.Ordinal));
        Assert.IsType<ActionOutcome.Done>(await action.ActAsync(context, Cancel)); // the answer was lost: asked again under the same key
        Assert.Equal(["run-1/step/1"], await File.ReadAllLinesAsync(marks, Cancel));
        var plain = Assert.IsType<ActionOutcome.Done>(await action.ActAsync(Context("plain", "other"), Cancel));
        Assert.Equal("a;b $HOME", plain.Outputs["output"]);
    }

    [Fact(Timeout = 60_000)]
    public async Task Exec_ItFailsOrHangs_IsSaid_AndNothingOfItIsLeft()
    {
        var action = Action(Command("bad", "/bin/sh", "-c", "echo why; exit 3"), Command("hang", "/bin/sh", "-c", "sleep 4242 & sleep 4242") with { Timeout = TimeSpan.FromMilliseconds(300) }, Command("gone", "/no/such/program"), Command("loud", "/bin/sh", "-c", "yes x | head -c 100000; echo the-end"));
        Assert.Contains("exited with 3: why", Assert.IsType<ActionOutcome.Failed>(await action.ActAsync(Context("bad"), Cancel)).Error, StringComparison.Ordinal);
        Assert.Contains("did not end within", Assert.IsType<ActionOutcome.Failed>(await action.ActAsync(Context("hang"), Cancel)).Error, StringComparison.Ordinal);
        Assert.Contains("cannot be started", Assert.IsType<ActionOutcome.Failed>(await action.ActAsync(Context("gone"), Cancel)).Error, StringComparison.Ordinal);
        var output = Assert.IsType<ActionOutcome.Done>(await action.ActAsync(Context("loud"), Cancel)).Outputs["output"];
        Assert.True(output.Length <= ExecOrders.OutputMax && output.EndsWith("the-end", StringComparison.Ordinal));
        await Eventually.TrueAsync(() => !Directory.EnumerateDirectories("/proc").Any(p => Sleeps(Path.Combine(p, "cmdline"))), "no sleep is left", Cancel);
    }

    [Theory]
    [InlineData("other", Region, "The policy's `commands` has no 'other'")]
    [InlineData("mark", "us-west-1", "may run in us-east-1, not in us-west-1")]
    [InlineData("mark", "mars-1", "There is no region 'mars-1'")]
    public async Task Exec_WhatIsNotListed_IsRefused(string command, string region, string says)
    {
        var action = Action(Command("mark", "/bin/true") with { Regions = [Region] });
        var context = Context(command, region: region);
        Assert.Contains(says, Assert.Single((await action.CheckAsync(context, Cancel)).Problems), StringComparison.Ordinal);
        Assert.Contains(says, Assert.IsType<ActionOutcome.Refused>(await action.ActAsync(context, Cancel)).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Exec_MoreArguments_AreRefused() =>
        Assert.Contains("stand in the policy", Assert.IsType<ActionOutcome.Refused>(await Action(Command("mark", "/bin/true")).ActAsync(Context("mark", "x", Region, ("arguments", "--all")), Cancel)).Error, StringComparison.Ordinal);

    private ExecAction Action(params CommandDefinition[] commands) => new(new Direct(_agent), new HousePolicy(new PolicyDocument
    {
        Commands = commands,
        Regions = [.. new[] { Region, "us-west-1" }.Select(code => new RegionDefinition { Code = code, Name = code, Role = RegionRole.Standby, Endpoint = "http://127.0.0.1:1", Location = default })],
    }));

    private static CommandDefinition Command(string name, params string[] command) => new() { Name = name, Command = command };

    private static ActionContext Context(string command, string key = "1", string region = Region, params (string, string)[] more)
    {
        var arguments = more.Prepend(("region", region)).Prepend(("command", command)).ToDictionary(a => a.Item1, a => a.Item2);
        return new()
        {
            Run = "run-1", Step = new RunbookStep { Id = "step", Title = "Step", Action = "exec" }, Arguments = arguments, Written = arguments, Inputs = arguments, Outputs = new Dictionary<string, string>(),
            Key = $"run-1/step/{key}", Attempt = 1, Fence = new Fence("server", 1), Actor = "ada", Reason = "test", RunStartedAt = DateTimeOffset.UnixEpoch,
        };
    }

    private static bool Sleeps(string cmdline)
    {
        try { return File.ReadAllText(cmdline).Contains("sleep\04242", StringComparison.Ordinal); }
        catch (IOException) { return false; }
        catch (UnauthorizedAccessException) { return false; }
    }

    /// <summary>The line to the agent, with its memory of orders that ended well.</summary>
    private sealed class Direct(AgentHost agent) : INodeLinks
    {
        private readonly OrderMemory _memory = new(null);

        public IReadOnlyList<NodeLink> Nodes => [new(new NodeName(NodeKind.Agent, Region), "test", DateTimeOffset.UnixEpoch, true, 1)];

        public void Publish(NodeName node, long version, JsonElement document) { }

        public async Task<OrderOutcome> SendAsync(NodeName node, Order order, TimeSpan timeout, CancellationToken cancel)
        {
            if (_memory.Find(order.Id) is { } known)
                return new OrderOutcome.Done(known);
            OrderResult result;
            // As the node's own line does: what an order throws is its failure.
            try { result = await agent.Work.CarryOutAsync(order, cancel); }
            catch (InvalidOperationException error) { result = new OrderResult { Id = order.Id, Done = false, Error = error.Message }; }
            _memory.Remember(result);
            return new OrderOutcome.Done(result);
        }
    }
}
