using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Databases;

/// <summary>
/// `sql`: one statement on the primary of a database of the policy, as a role that the policy lets runbooks use (`databases.NAME.runbook_roles`). The statement and
/// its queries stand in the runbook letter for letter; what comes from inputs are parameters. One that changes something names the query that
/// tells whether it has: it is asked after the statement, and first of all after a crash or a lost answer. As `verify` or `check` of another step only the query counts.
/// </summary>
internal sealed class SqlAction(Epochs epochs, INodeLinks links, IPolicySource policy) : IAction
{
    private static readonly TimeSpan TimeoutDefault = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Reserve = TimeSpan.FromSeconds(5);
    private const int OutputMax = 4000;
    private static readonly string[] Known = ["database", "role", "statement", "query", "expect", "read", "rows", "timeout"];

    public string Name => "sql";

    public async Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        var (ask, wrong) = Read(context);
        if (ask is null)
            return new ActionCheck { Problems = [wrong!] };
        if (await epochs.GetAsync(ask.Database, cancel) is not { } record)
            return new ActionCheck { Problems = [$"Database {ask.Database} has no epoch yet, so that no host is its primary."] };
        return links.Nodes.Any(n => n.Name == Agent(record) && !n.Broken)
            ? new ActionCheck { Note = $"run a statement as {ask.Role} on {record.Primary}, the primary of {ask.Database}", Expected = TimeSpan.FromMilliseconds(100) }
            : new ActionCheck { Problems = [$"The agent of {record.Primary}, the primary of {ask.Database}, cannot be reached, and it is the one that would run the statement. Look at `br regions show {record.Primary}`."] };
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        var (ask, wrong) = Read(context);
        if (ask is not { Statement: { } statement })
            return new ActionOutcome.Refused(wrong ?? $"Step '{context.Step.Id}' has no `statement`.");
        context.Progress($"a statement runs as {ask.Role}");
        var answer = await GiveAsync(ask, statement, ask.ReadOnly, $"sql/{context.Key}", context, cancel);
        if (answer.Result is not { } result)
            return answer.Refused ? new ActionOutcome.Refused(answer.Error!) : new ActionOutcome.Failed(answer.Error!, Unknown: true);
        if (ask.Query is not null && await VerifyAsync(context, cancel) is ActionVerdict.NotSo not)
            return new ActionOutcome.Failed($"The statement ran, and what it is for is not so: {not.Reason}");
        return ActionOutcome.Finished(
            ("rows", JsonSerializer.Serialize(result.Rows, SqlJson.Default.IReadOnlyListIReadOnlyListString) is var rows && rows.Length > OutputMax ? rows[..OutputMax] : rows),
            ("value", result.Rows is [[{ } first, ..], ..] ? first : null), ("affected", result.Affected.ToString(CultureInfo.InvariantCulture)), ("cut", result.Cut ? "true" : "false"));
    }

    public async Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel)
    {
        var (ask, wrong) = Read(context);
        if (ask is null)
            return new ActionVerdict.Unknown(wrong!);
        if (ask.Query is not { } query)
            return new ActionVerdict.NotSo("it only reads, and is asked again");
        // Each look is a new one: an answer that is remembered would tell of an earlier moment.
        var answer = await GiveAsync(ask, query, true, $"sql/{context.Key}/look/{Guid.CreateVersion7():N}", context, cancel);
        if (answer.Result is not { } result)
            return new ActionVerdict.Unknown(answer.Error!);
        var value = result.Rows is [[var first, ..], ..] ? first : null;
        return Same(value, ask.Expect)
            ? new ActionVerdict.So(new Dictionary<string, string> { ["value"] = value ?? "" })
            : new ActionVerdict.NotSo($"the query answers {(value is null ? "nothing" : $"'{value}'")} and not '{ask.Expect}'");
    }

    /// <summary>PostgreSQL writes a truth as one letter.</summary>
    private static bool Same(string? value, string expect) => value == expect || (expect, value) is ("true", "t") or ("false", "f");

    private async Task<(SqlResult? Result, string? Error, bool Refused)> GiveAsync(Ask ask, string statement, bool readOnly, string id, ActionContext context, CancellationToken cancel)
    {
        if (await epochs.GetAsync(ask.Database, cancel) is not { State: EpochState.Open } record)
            return (null, $"Database {ask.Database} is being moved now, and nobody may write to it; the statement was not sent.", false);
        var order = new SqlOrder(ask.Role, statement, Used(ask.Parameters, statement), (int)ask.Timeout.TotalMilliseconds, ask.Rows, readOnly);
        var answer = await links.SendAsync(Agent(record), id, SqlOrders.Run, record.Epoch, context.Fence.Token, order, WireJson.Default.SqlOrder, WireJson.Default.SqlResult, ask.Timeout + Reserve, cancel);
        return answer.Data is null ? (null, $"On {record.Primary}: {answer.Error}", answer.Refused) : (answer.Data, null, false);
    }

    /// <summary>PostgreSQL wants as many values as a statement names: the statement and its query need not use the same.</summary>
    private static IReadOnlyList<string> Used(IReadOnlyList<string> parameters, string statement)
    {
        var count = 0;
        for (var i = 1; i <= parameters.Count; i++)
        {
            if (statement.Contains(string.Create(CultureInfo.InvariantCulture, $"${i}"), StringComparison.Ordinal))
                count = i;
        }
        return [.. parameters.Take(count)];
    }

    private (Ask? Ask, string? Wrong) Read(ActionContext context)
    {
        string Step() => $"Step '{context.Step.Id}'";
        foreach (var name in new[] { "statement", "query", "role" })
        {
            if (context.Written.TryGetValue(name, out var written) && StepArguments.References(written).Any())
                return (null, $"{Step()}: `{name}` stands in the runbook letter for letter; what comes from an input is a parameter: `param.1: ${{…}}`, and `$1` in the statement.");
        }
        if (context.Arguments.Keys.FirstOrDefault(k => !Known.Contains(k) && !k.StartsWith("param.", StringComparison.Ordinal)) is { } other)
            return (null, $"{Step()} gives `{other}`, which `sql` does not know. {Nearest.Fix(other, Known)}");
        var databases = policy.Current.Databases is { Count: > 0 } named ? named : [new DatabaseDefinition { Name = "main" }];
        var wanted = context.Argument("database") ?? databases[0].Name;
        if (databases.FirstOrDefault(d => d.Name == wanted) is not { } database)
            return (null, $"There is no database '{wanted}' in the policy. {Nearest.Fix(wanted, [.. databases.Select(d => d.Name)])}");
        if (context.Argument("role") is not { } role || !database.RunbookRoles.Contains(role))
        {
            return (null, $"{Step()} wants {(context.Argument("role") is { } r ? $"the role '{r}'" : "no role")}, and `databases.{database.Name}.runbook_roles` of the policy lets runbooks use "
                + $"{(database.RunbookRoles.Count == 0 ? "none. Add it there." : string.Join(", ", database.RunbookRoles) + ".")}");
        }
        var (statement, query) = (context.Argument("statement"), context.Argument("query"));
        var read = context.Argument("read") == "true";
        if ((statement is not null && !SqlText.IsOne(statement)) || (query is not null && !SqlText.IsOne(query)))
            return (null, $"{Step()} has more than one statement. Give each a step of its own: then each is journalled, and looked at after a crash.");
        if (statement is null && query is null)
            return (null, $"{Step()} has neither `statement` nor `query`.");
        if (statement is not null && query is null && !read)
            return (null, $"{Step()}: a statement that changes something needs a `query` that tells whether it has, or a crash would run it twice. One that only reads: `read: true`.");
        var timeout = TimeoutDefault;
        if (context.Argument("timeout") is { } text && (!Units.TryDuration(text, out timeout, out _, out _) || timeout <= TimeSpan.Zero || timeout > SqlOrders.TimeoutMax))
            return (null, $"{Step()}: `timeout: {text}` is no time from 1ms to {Units.Write(SqlOrders.TimeoutMax)}.");
        var rows = SqlOrders.RowsMax;
        if (context.Argument("rows") is { } count && (!int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out rows) || rows > SqlOrders.RowsMax))
            return (null, $"{Step()}: `rows: {count}` is no number from 0 to {SqlOrders.RowsMax}.");
        var parameters = new List<string>();
        for (var i = 1; context.Arguments.TryGetValue(string.Create(CultureInfo.InvariantCulture, $"param.{i}"), out var value); i++)
            parameters.Add(value);
        if (parameters.Count != context.Arguments.Keys.Count(k => k.StartsWith("param.", StringComparison.Ordinal)) || parameters.Count > SqlOrders.ParametersMax)
            return (null, $"{Step()}: parameters are `param.1`, `param.2`, … without a gap, at most {SqlOrders.ParametersMax}.");
        return (new Ask(database.Name, role, statement, query, context.Argument("expect") ?? "true", read, rows, timeout, parameters), null);
    }

    private static NodeName Agent(EpochRecord record) => new(NodeKind.Agent, record.Primary);

    private sealed record Ask(string Database, string Role, string? Statement, string? Query, string Expect, bool ReadOnly, int Rows, TimeSpan Timeout, IReadOnlyList<string> Parameters);
}

[System.Text.Json.Serialization.JsonSerializable(typeof(IReadOnlyList<IReadOnlyList<string?>>))]
internal sealed partial class SqlJson : System.Text.Json.Serialization.JsonSerializerContext;
