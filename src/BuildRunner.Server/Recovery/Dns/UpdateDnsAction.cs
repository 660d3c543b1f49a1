using BuildRunner.Server.Policy;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>
/// `dns.update`: what the names should answer is sent. With `wait: true` it ends when every authoritative server answers it, and then looks for a
/// moment whether the watched resolvers do; those never make it fail.
/// </summary>
internal sealed class UpdateDnsAction(DnsLoop names, DnsWatchLoop watch, IPolicySource policy, TimeProvider time) : IAction
{
    private static readonly TimeSpan SettleMax = TimeSpan.FromSeconds(25);
    private static readonly TimeSpan FaultMin = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan ResolversMax = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    public string Name => "dns.update";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        // Names that cannot be written are no reason to leave the writes where they are: traffic through gateways does not need them.
        var wrong = names.Current.Where(v => !v.Settled).Select(v => $"{v.Wanted.Name}: {v.Fault?.Message ?? v.Reason}").ToList();
        return Task.FromResult(new ActionCheck
        {
            Note = $"driver {names.DriverName}{(wrong.Count > 0 ? $"; not well now: {string.Join("; ", wrong)}" : "")}",
            Problems = context.Argument("wait") is null or "true" or "false" ? [] : [$"Step '{context.Step.Id}': `wait: {context.Argument("wait")}` is neither true nor false."],
        });
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        names.Wake();
        if (context.Argument("wait") != "true")
            return ActionOutcome.Finished(("sent", names.DriverName));
        var begun = time.GetTimestamp();
        while (true)
        {
            var state = await names.CheckAsync(cancel);
            if (state.Settled)
                return ActionOutcome.Finished(("dns", state.Sentence), ("resolvers", await ResolversAsync(context, cancel)));
            var fault = names.Current.Select(v => v.Fault).FirstOrDefault(f => f is not null);
            if (time.GetElapsedTime(begun) > SettleMax || (fault is { Passing: false } && time.GetElapsedTime(begun) > FaultMin))
                return new ActionOutcome.Failed($"The name servers do not answer the new addresses yet: {state.Sentence}.{(fault is null ? "" : $" {fault.Message} {fault.Fix}")}");
            context.Progress(state.Sentence);
            names.Wake();
            await Task.Delay(Pause, time, cancel);
        }
    }

    /// <summary>Null: none is watched.</summary>
    private async Task<string?> ResolversAsync(ActionContext context, CancellationToken cancel)
    {
        var rules = policy.Current.Dns;
        if (rules.Resolvers.Count == 0)
            return null;
        var begun = time.GetTimestamp();
        var patience = rules.Ttl + TimeSpan.FromSeconds(1) is var kept && kept < ResolversMax ? kept : ResolversMax;
        while (true)
        {
            var old = (await watch.ReadAsync(await names.DesiredAsync(cancel), cancel)).Where(v => !v.Right).Select(v => $"{v.Name}: {v.Reading.Said}").ToList();
            if (old.Count == 0)
                return "all that are watched answer it";
            if (time.GetElapsedTime(begun) > patience)
                return $"not all yet: {string.Join("; ", old)}";
            context.Progress(string.Join("; ", old));
            await Task.Delay(Pause, time, cancel);
        }
    }
}
