using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace BuildRunner.Application;

/// <summary>What becomes of a request before it touches data.</summary>
internal abstract record EpochDecision
{
    private EpochDecision() { }

    /// <summary>Go on; a write is bound to this epoch (null: a read of a host that knows none).</summary>
    public sealed record Pass(long? Epoch) : EpochDecision;

    /// <summary>421.</summary>
    public sealed record Misdirected(string Reason) : EpochDecision;

    /// <summary>400.</summary>
    public sealed record Malformed(string Reason) : EpochDecision;
}

/// <summary>A write passes only where it is open, and only under the epoch under which it was dispatched (FAILOVER.md 5).</summary>
internal static class EpochGate
{
    public static EpochDecision Decide(string method, bool writesNothing, StringValues header, WriteAddress address)
    {
        if (writesNothing || HttpMethods.IsGet(method) || HttpMethods.IsHead(method) || HttpMethods.IsOptions(method) || HttpMethods.IsTrace(method))
            return new EpochDecision.Pass(address.Epoch);

        long? asked = null;
        if (header.Count > 0)
        {
            if (header.Count > 1 || !long.TryParse(header[0], NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                return new EpochDecision.Malformed($"{Problem.EpochHeader} is one whole number; it was '{header}'.");
            asked = number;
        }

        if (address is not { Open: true, Epoch: { } known })
            return new EpochDecision.Misdirected($"Writes are closed on this host (epoch {address.Epoch?.ToString(CultureInfo.InvariantCulture) ?? "unknown"}).");
        return asked is null || asked == known
            ? new EpochDecision.Pass(known)
            : new EpochDecision.Misdirected($"The request is of epoch {asked}; this host is at epoch {known}.");
    }
}

/// <summary>Put on an endpoint whose POST only reads (a search), so that it answers while writes are closed.</summary>
[AttributeUsage(AttributeTargets.Method | AttributeTargets.Class)]
public sealed class WritesNothingAttribute : Attribute;

/// <summary>The epoch a request is bound to; the commit helper reads it.</summary>
public sealed record RequestEpoch(long? Epoch);

/// <summary>Refuses requests of another epoch with 421 and stamps every answer with this host's epoch.</summary>
internal sealed class EpochMiddleware(RequestDelegate next, WriteAddressSource addresses)
{
    public async Task InvokeAsync(HttpContext context)
    {
        var address = addresses.Current;
        var writesNothing = context.GetEndpoint()?.Metadata.GetMetadata<WritesNothingAttribute>() is not null;
        var decision = EpochGate.Decide(context.Request.Method, writesNothing, context.Request.Headers[Problem.EpochHeader], address);

        // The epoch at which this request was let in: a write that ends later was still bound to it.
        if (address.Epoch is { } epoch)
            context.Response.Headers[Problem.EpochHeader] = epoch.ToString(CultureInfo.InvariantCulture);
        switch (decision)
        {
            case EpochDecision.Pass(var bound):
                context.Features.Set(new RequestEpoch(bound));
                await next(context);
                break;
            case EpochDecision.Misdirected(var reason):
                await Problem.Misdirected(reason).ExecuteAsync(context);
                break;
            case EpochDecision.Malformed(var reason):
                await Problem.Of(StatusCodes.Status400BadRequest, "application.epoch-malformed", reason).ExecuteAsync(context);
                break;
        }
    }
}
