using System.Net;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Routing;

namespace BuildRunner.Server.Routing;

/// <summary>Puts a decision of the gateways' own function into words.</summary>
internal static class RouteExplainer
{
    public static RouteExplanation Explain(RequestFacts facts, IPAddress address, RoutingView view, DateTimeOffset now)
    {
        var decision = RegionChoice.Choose(facts, view, now, explain: true);
        var (word, region) = decision switch
        {
            RegionDecision.Send send => ("send", send.Region),
            RegionDecision.Hold hold => ("hold", hold.Region),
            _ => ("refuse", (string?)null),
        };
        var track = region is null ? null : TrackChoice.Choose(decision.Match!.Service, facts.Client);
        var instances = region is null ? [] : view.Instances(decision.Match!.Service.Name, region);
        return new RouteExplanation
        {
            TableVersion = view.Table.Version,
            Ip = address.ToString(),
            Country = facts.Place is { Country.Length: > 0 } place ? place.Country : null,
            Method = facts.Method,
            Path = facts.Path,
            From = facts.Gateway,
            Service = decision.Match?.Service.Name,
            Route = decision.Match?.Route.Pattern,
            Write = decision.IsWrite,
            Decision = word,
            Region = region,
            Precision = decision.Precision,
            Home = decision.Home,
            Retry = (decision as RegionDecision.Send)?.Retry,
            Epoch = decision switch { RegionDecision.Send { Database: not null } send => send.Epoch, RegionDecision.Hold hold => hold.Epoch, _ => null },
            Track = track,
            Instances = [.. instances.Where(i => i.Track == track).Select(i => $"{i.Id} ({i.Version}, {i.Health.ToString().ToLowerInvariant()})")],
            Status = (decision as RegionDecision.Refuse)?.Status,
            Problem = (decision as RegionDecision.Refuse)?.Problem,
            Reasons = decision.Reasons,
        };
    }
}
