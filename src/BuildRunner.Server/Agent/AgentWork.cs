using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Client.Hosting;
using BuildRunner.Server.Agent.Instances;
using BuildRunner.Server.Agent.Adoption;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent;

/// <summary>What an agent does with what the server tells it, and what it reports.</summary>
internal sealed class AgentWork(AgentOptions options, AgentStateFile state, AssignmentBook book, DatabaseDrivers drivers, AdoptionDesk adoption, InstanceLoop instances, PromiseKeeper promises, FaultDesk faults, ExecDesk exec, SqlDesk sql, PostgresDriver driver) : INodeWork
{
    private IDatabaseDriver Driver => drivers.Current;

    public long DocumentVersion => book.Current?.Version ?? 0;

    public Task ApplyAsync(long version, JsonElement document, CancellationToken cancel)
    {
        book.Take(document.Deserialize(WireJson.Default.Assignment) ?? throw new JsonException("An assignment was null."));
        return Task.CompletedTask;
    }

    public async Task<OrderResult> CarryOutAsync(Order order, CancellationToken cancel)
    {
        if (order.Kind == ExecOrders.Run)
            return await WithoutEpochAsync(order, () => DoAsync(order, WireJson.Default.ExecOrder, WireJson.Default.ExecResult, exec.RunAsync, cancel));
        if (order.Kind is FaultOrders.Inject && drivers.NoFaults(options.Region) is { } forbidden)
            return new OrderResult { Id = order.Id, Done = false, Refused = true, Error = forbidden };
        if (order.Kind is FaultOrders.Inject or FaultOrders.Lift)
            return await WithoutEpochAsync(order, () => DoAsync(order, WireJson.Default.FaultOrder, WireJson.Default.FaultResult, order.Kind == FaultOrders.Inject ? faults.InjectAsync : faults.LiftAsync, cancel));
        if (order.Kind is not (DatabaseOrders.Inspect or AdoptOrders.Survey) && Admit(order) is { } refusal) // who only looks needs no right
            return new OrderResult { Id = order.Id, Done = false, Refused = true, Error = refusal };
        return order.Kind switch
        {
            DatabaseOrders.Fence => await DoAsync(order, WireJson.Default.FenceOrder, WireJson.Default.FenceResult, Driver.FenceAsync, cancel),
            DatabaseOrders.Refuse => await DoAsync(order, WireJson.Default.RefuseOrder, WireJson.Default.RefuseResult, (refuse, _) => Task.FromResult(promises.Refuse(refuse.Epoch, refuse.Run)), cancel),
            DatabaseOrders.Cut => await DoAsync(order, WireJson.Default.CutOrder, WireJson.Default.CutResult, Driver.CutAsync, cancel),
            DatabaseOrders.Uncut => await DoAsync(order, WireJson.Default.CutOrder, WireJson.Default.CutResult, Driver.UncutAsync, cancel),
            DatabaseOrders.CatchUp => await DoAsync(order, WireJson.Default.CatchUpOrder, WireJson.Default.CutResult, Driver.CatchUpAsync, cancel),
            DatabaseOrders.Promote => await DoAsync(order, WireJson.Default.PromoteOrder, WireJson.Default.PromoteResult, Driver.PromoteAsync, cancel),
            DatabaseOrders.Restart => await DoAsync(order, WireJson.Default.PromoteOrder, WireJson.Default.PromoteResult, Driver.RestartAsync, cancel),
            DatabaseOrders.Inspect => await DoAsync(order, WireJson.Default.SwitchOrder, WireJson.Default.InspectResult, Driver.InspectAsync, cancel),
            DatabaseOrders.Prepare => await DoAsync(order, WireJson.Default.SwitchOrder, WireJson.Default.PrepareResult, Driver.PrepareAsync, cancel),
            DatabaseOrders.Seal => await DoAsync(order, WireJson.Default.SwitchOrder, WireJson.Default.SealResult, Driver.SealAsync, cancel),
            DatabaseOrders.Unseal => await DoAsync(order, WireJson.Default.SwitchOrder, WireJson.Default.SealResult, Driver.UnsealAsync, cancel),
            DatabaseOrders.Reach => await DoAsync(order, WireJson.Default.ReachOrder, WireJson.Default.ReachResult, Driver.ReachAsync, cancel),
            AdoptOrders.Survey => await DoAsync(order, WireJson.Default.AdoptOrder, WireJson.Default.AdoptSurvey, adoption.SurveyAsync, cancel),
            AdoptOrders.Adopt => await DoAsync(order, WireJson.Default.AdoptOrder, WireJson.Default.AdoptResult, adoption.AdoptAsync, cancel),
            SqlOrders.Run => await DoAsync(order, WireJson.Default.SqlOrder, WireJson.Default.SqlResult, sql.RunAsync, cancel),
            _ => new OrderResult { Id = order.Id, Done = false, Refused = true, Error = $"agent/{options.Region} does not know the order {order.Kind}." },
        };
    }

    public byte[]? Report(string incarnation) => JsonSerializer.SerializeToUtf8Bytes(new AgentReport
    {
        Incarnation = incarnation,
        At = DateTimeOffset.UtcNow,
        Host = options.Host,
        DatabasePort = options.DatabasePort,
        PeerPort = options.PeerPort,
        StartAsk = Driver.StartAsk,
        FencingToken = state.Current.SeenToken,
        GatewayKey = options.DatabasePort != 0 && driver.GatewayKey is { } key ? Convert.ToBase64String(key) : null,
        Database = Driver.Last,
        Instances = instances.Readings,
    }, WireJson.Default.AgentReport);

    /// <summary>A command or a fault is about no epoch; a server that leads no more is refused all the same.</summary>
    private async Task<OrderResult> WithoutEpochAsync(Order order, Func<Task<OrderResult>> act) => order.FencingToken < state.Current.SeenToken
        ? new OrderResult { Id = order.Id, Done = false, Refused = true, Error = $"agent/{options.Region} has seen fencing token {state.Current.SeenToken} and refuses the order {order.Kind} of token {order.FencingToken}." }
        : await act();

    /// <summary>Null: the order stands under no older epoch or token than this host has seen, and from now on nothing older than it will.</summary>
    private string? Admit(Order order)
    {
        string? refusal = null;
        state.Change(s =>
        {
            if (book.Refusal is { } why)
                refusal = $"agent/{options.Region} refuses the order {order.Kind}: {why}.";
            else if (order.Epoch < s.SeenEpoch)
                refusal = $"agent/{options.Region} has seen epoch {s.SeenEpoch} and refuses the order {order.Kind} of epoch {order.Epoch}.";
            else if (order.FencingToken < s.SeenToken)
                refusal = $"agent/{options.Region} has seen fencing token {s.SeenToken} and refuses the order {order.Kind} of token {order.FencingToken}.";
            return refusal is null ? s with { SeenEpoch = order.Epoch, SeenToken = order.FencingToken } : s;
        });
        return refusal;
    }

    private static async Task<OrderResult> DoAsync<TOrder, TResult>(Order order, JsonTypeInfo<TOrder> orderType, JsonTypeInfo<TResult> resultType, Func<TOrder, CancellationToken, Task<TResult>> act, CancellationToken cancel)
    {
        var arguments = order.Arguments.Deserialize(orderType) ?? throw new JsonException($"The order {order.Kind} has no arguments.");
        try
        {
            var result = await act(arguments, cancel);
            return new OrderResult { Id = order.Id, Done = true, Data = JsonSerializer.SerializeToElement(result, resultType) };
        }
        catch (OrderRefusedException refused) { return new OrderResult { Id = order.Id, Done = false, Refused = true, Error = refused.Message }; }
        catch (Npgsql.NpgsqlException error)
        {
            // PostgreSQL's own words go to a person: one clause, no redacted detail.
            throw new InvalidOperationException(ErrorClause.Of(error), error);
        }
    }
}
