using BuildRunner.Core.Routing;
using Microsoft.AspNetCore.Http;
using Yarp.ReverseProxy.Forwarder;

namespace BuildRunner.Server.Gateway;

/// <summary>Sends one request to one instance of a region and says how far it came; decides nothing about a second time.</summary>
internal sealed class Forwarding(string gateway, GatewayTable table, IHttpForwarder forwarder, Origins origins, TargetWatch targets)
{
    private long _chance = Random.Shared.NextInt64();

    public async Task<Sent> SendAsync(HttpContext context, Sending sending)
    {
        var service = sending.Match.Service;
        var instance = Pick(sending.State.View, service, sending.Region, sending.Read.Facts.Client, sending.Avoid);
        if (instance is null)
            return new Sent(sending.Region, service.Name) { CanAnswer = true, Failed = true, NotSent = true };

        var exchange = new Exchange(table, sending.Read, gateway)
        {
            Database = sending.Database,
            Epoch = sending.Epoch,
            SetCookie = sending.SetCookie,
            ServiceDatabase = service.Database,
        };
        // A sending that failed leaves its status behind, and the forwarder takes that for an answer.
        if (!context.Response.HasStarted && context.Response.StatusCode != StatusCodes.Status200OK)
            context.Response.Clear();
        context.Features.Set<IForwarderErrorFeature>(null);
        var busy = origins.CounterOf(instance.Address);
        busy.Increment();
        ForwarderError error;
        try
        {
            error = await forwarder.SendAsync(context, instance.Address, origins.For(sending.Region), ConfigFor(sending.Match.Route.Timeout), exchange, CancellationToken.None);
        }
        finally { busy.Decrement(); }

        var feature = error == ForwarderError.None ? null : context.Features.Get<IForwarderErrorFeature>();
        var unreachable = OriginUnreachableException.In(feature?.Exception);
        var gone = context.RequestAborted.IsCancellationRequested;
        var failed = error != ForwarderError.None && exchange.End != ExchangeEnd.OtherEpoch;
        var refused = Refused(feature?.Exception);
        // A user who hangs up or sends too much says nothing about the region; neither does a refusal for the epoch.
        if (!gone && refused is null)
            targets.Record(sending.Region, service.Name, failed: failed || exchange.Status >= 500, unreachable: unreachable is not null);
        return new Sent(sending.Region, service.Name)
        {
            Instance = instance.Id,
            End = exchange.End,
            Status = exchange.Status,
            AnswerEpoch = exchange.AnswerEpoch,
            Failed = failed,
            CanAnswer = !context.Response.HasStarted && !gone,
            NotSent = unreachable is not null,
            Refused = refused,
            TimedOut = error is ForwarderError.RequestTimedOut or ForwarderError.UpgradeActivityTimeout,
            Reason = unreachable?.Message ?? feature?.Exception?.Message ?? error.ToString(),
        };
    }

    public InstanceRow? Pick(RoutingView view, ServiceRow service, string region, ulong client, string? avoid)
    {
        var down = targets.AddressesDown;
        var chance = ClientKey.Mix((ulong)Interlocked.Increment(ref _chance), "instance");
        return InstanceChoice.Choose(
            view.Instances(service.Name, region), TrackChoice.Choose(service, client),
            i => origins.InFlight(i.Address) + (down.Contains(i.Address) ? 1_000_000 : 0), chance, avoid);
    }

    /// <summary>Status for a body that this gateway itself would not read to its end: too large (413), or not HTTP (400).</summary>
    private static int? Refused(Exception? error)
    {
        for (var at = error; at is not null; at = at.InnerException)
        {
            if (at is BadHttpRequestException bad)
                return bad.StatusCode;
        }
        return null;
    }

    private static ForwarderRequestConfig ConfigFor(TimeSpan timeout) => new() { ActivityTimeout = timeout };
}

/// <summary>What is to be sent where.</summary>
internal sealed record Sending(GatewayState State, RequestFactsRead Read, RouteMatch Match, string Region)
{
    /// <summary>Id of the instance that just failed.</summary>
    public string? Avoid { get; init; }
    public string? Database { get; init; }
    public long Epoch { get; init; }
    public string? SetCookie { get; init; }
}

/// <summary>How far a sending came.</summary>
internal sealed record Sent(string Region, string Service)
{
    /// <summary>Null: there was no instance to send to.</summary>
    public string? Instance { get; init; }
    public ExchangeEnd End { get; init; } = ExchangeEnd.NoAnswer;
    public int Status { get; init; }
    public long? AnswerEpoch { get; init; }
    public bool Failed { get; init; }

    /// <summary>Nothing has gone to the user yet, and the user is still there.</summary>
    public bool CanAnswer { get; init; }

    /// <summary>Proof that the origin got nothing of it.</summary>
    public bool NotSent { get; init; }

    /// <summary>The status that is the user's due for a body that was not read to its end; the origin never got the whole request.</summary>
    public int? Refused { get; init; }
    public bool TimedOut { get; init; }
    public string Reason { get; init; } = "";
}
