using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Databases;
using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using BuildRunner.Tests.Recovery;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Agent;

/// <summary>The action `sql` over an agent's own desk and a real PostgreSQL.</summary>
public sealed class SqlTests : AgentPair
{
    private const string Statement = "insert into jobs values ($1::int, $2) on conflict do nothing";
    private const string Query = "select exists (select from jobs where id = $1::int)";
    private static readonly EpochRecord Record = EpochTransitions.First("main", "us-east-1", ["us-east-1", "us-west-1"], default);

    [Fact(Timeout = TestMax)]
    public async Task Sql_AStatementWithItsQuery_RunsOnceAsTheRole_AndIsFoundAgain()
    {
        await BeginAsync(standby: false);
        await East.ExecuteAsync("create table jobs (id int primary key, what text); grant select, insert on jobs to app");
        var action = Action();
        var context = Context(("statement", Statement), ("query", Query), ("param.1", "7"), ("param.2", "it's; done"));
        Assert.IsType<ActionVerdict.NotSo>(await action.VerifyAsync(context, Cancel));
        var done = Assert.IsType<ActionOutcome.Done>(await action.ActAsync(context, Cancel));
        Assert.Equal("1", done.Outputs["affected"]);
        Assert.IsType<ActionVerdict.So>(await action.VerifyAsync(context, Cancel)); // after a crash it is looked at first
        var read = Assert.IsType<ActionOutcome.Done>(await action.ActAsync(Context(("statement", "select what, null, now() from jobs order by id"), ("read", "true")), Cancel));
        Assert.Equal(("it's; done", "false"), (read.Outputs["value"], read.Outputs["cut"]));
        Assert.Equal("app", Assert.IsType<ActionOutcome.Done>(await action.ActAsync(Context(("statement", "select current_user"), ("read", "true")), Cancel)).Outputs["value"]);

        // No more rights than the role's, nothing changed where it only reads, and no longer than it may take.
        Assert.Contains("permission denied", Failed(await action.ActAsync(Context(("statement", "select rolpassword from pg_authid"), ("read", "true")), Cancel)), StringComparison.Ordinal);
        Assert.Contains("read-only", Failed(await action.ActAsync(Context(("statement", "insert into jobs values (8, 'x')"), ("read", "true")), Cancel)), StringComparison.Ordinal);
        Assert.Contains("timeout", Failed(await action.ActAsync(Context(("statement", "select pg_sleep(60)"), ("read", "true"), ("timeout", "200ms")), Cancel)), StringComparison.Ordinal);
        var many = Assert.IsType<ActionOutcome.Done>(await action.ActAsync(Context(("statement", "select generate_series(1, 1000)"), ("read", "true"), ("rows", "3")), Cancel));
        Assert.Equal(("[[\"1\"],[\"2\"],[\"3\"]]", "true"), (many.Outputs["rows"], many.Outputs["cut"]));
        Assert.Contains("is not so", Failed(await action.ActAsync(Context(("statement", "select 1"), ("query", "select false")), Cancel)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("needs a `query`", "statement", "delete from jobs")]
    [InlineData("more than one statement", "statement", "select 1; select 2", "read", "true")]
    [InlineData("letter for letter", "statement", "delete from ${table}", "query", "select true")]
    [InlineData("`databases.main.runbook_roles`", "statement", "select 1", "read", "true", "role", "postgres")]
    [InlineData("no database 'other'", "statement", "select 1", "read", "true", "database", "other")]
    [InlineData("without a gap", "statement", "select $2", "read", "true", "param.2", "x")]
    [InlineData("`timeout: 1h`", "statement", "select 1", "read", "true", "timeout", "1h")]
    [InlineData("`rows: 1000`", "statement", "select 1", "read", "true", "rows", "1000")]
    [InlineData("does not know", "statement", "select 1", "reads", "true")]
    public async Task Sql_WhatIsNotAllowed_IsSaidBeforeItRuns(string said, params string[] with)
    {
        var arguments = with.Chunk(2).Select(p => (p[0], p[1])).ToArray();
        var problems = (await Action().CheckAsync(Context(arguments), Cancel)).Problems;
        Assert.Contains(problems, p => p.Contains(said, StringComparison.Ordinal));
    }

    private static string Failed(ActionOutcome outcome) => Assert.IsType<ActionOutcome.Failed>(outcome).Error;

    private SqlAction Action()
    {
        var store = new OneRecord(Record);
        var policy = new HousePolicy(new PolicyDocument { Databases = [new DatabaseDefinition { Name = "main", RunbookRoles = ["app"] }] });
        return new SqlAction(new Epochs(store, new EventLog(store, TimeProvider.System, NullLogger<EventLog>.Instance)), new HostLinks(East), policy);
    }

    private static ActionContext Context(params (string Name, string Value)[] with)
    {
        var arguments = with.ToDictionary(w => w.Name, w => w.Value);
        arguments.TryAdd("role", "app");
        return new ActionContext
        {
            Run = "run-1", Step = new RunbookStep { Id = "step", Title = "t", Action = "sql" }, Arguments = arguments, Written = arguments, Inputs = new Dictionary<string, string>(),
            Outputs = new Dictionary<string, string>(), Key = $"run-1/step/{Guid.NewGuid():N}", Attempt = 1, Fence = new Fence("server", 1), Actor = "a", Reason = "r", RunStartedAt = default,
        };
    }

    /// <summary>A line to one host's desk.</summary>
    private sealed class HostLinks(AgentHost host) : INodeLinks
    {
        public IReadOnlyList<NodeLink> Nodes => [new(new NodeName(NodeKind.Agent, "us-east-1"), "i", default, true, 1)];

        public void Publish(NodeName node, long version, JsonElement document) { }

        public async Task<OrderOutcome> SendAsync(NodeName node, Order order, TimeSpan timeout, CancellationToken cancel) => new OrderOutcome.Done(await CarryAsync(order, cancel));

        private async Task<OrderResult> CarryAsync(Order order, CancellationToken cancel)
        {
            try { return await host.Work.CarryOutAsync(order, cancel); }
            catch (InvalidOperationException error) { return new OrderResult { Id = order.Id, Done = false, Error = error.Message }; }
        }
    }

    /// <summary>A store in which one epoch stands.</summary>
    private sealed class OneRecord(EpochRecord record) : IStore
    {
        public string Name => "one";

        public Task<StoreEntry?> GetAsync(string key, CancellationToken cancel) => Task.FromResult<StoreEntry?>(new(key, JsonSerializer.SerializeToUtf8Bytes(record, WireJson.Default.EpochRecord), 1));

        public Task<IReadOnlyList<StoreEntry>> ListAsync(string prefix, CancellationToken cancel) => throw new NotSupportedException();

        public Task<StoreWrite> PutAsync(string key, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel) => throw new NotSupportedException();

        public Task<StoreWrite> DeleteAsync(string key, long? expected, Fence? fence, CancellationToken cancel) => throw new NotSupportedException();

        public Task<StoreWrite> AppendAsync(string log, ReadOnlyMemory<byte> value, long? expected, Fence? fence, CancellationToken cancel) => throw new NotSupportedException();

        public Task<StoreWrite> AppendAsync(string log, IReadOnlyList<ReadOnlyMemory<byte>> values, KeyWrite write, long? expected, Fence? fence, CancellationToken cancel) => throw new NotSupportedException();

        public Task<IReadOnlyList<LogRecord>> ReadAsync(string log, long after, int limit, CancellationToken cancel) => throw new NotSupportedException();

        public Task<IReadOnlyList<LogRecord>> ReadLastAsync(string log, int limit, CancellationToken cancel) => throw new NotSupportedException();

        public IDisposable Watch(string prefix, Action<string> changed) => throw new NotSupportedException();

        public Task<LeaseGrant?> AcquireAsync(string lease, string holder, TimeSpan ttl, CancellationToken cancel, long above = 0) => throw new NotSupportedException();

        public Task<bool> RenewAsync(LeaseGrant grant, TimeSpan ttl, CancellationToken cancel) => throw new NotSupportedException();

        public Task ReleaseAsync(LeaseGrant grant, CancellationToken cancel) => throw new NotSupportedException();
    }
}
