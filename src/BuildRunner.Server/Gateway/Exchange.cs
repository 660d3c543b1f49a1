using System.Net;
using BuildRunner.Core.Routing;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;
using Yarp.ReverseProxy.Forwarder;

namespace BuildRunner.Server.Gateway;

/// <summary>One sending of a request to one instance: what goes with it, and whether its answer may go to the user.</summary>
internal sealed class Exchange(GatewayTable table, RequestFactsRead read, string gateway) : HttpTransformer
{
    public const string EpochHeader = "BuildRunner-Epoch";
    public const string OutcomeHeader = "BuildRunner-Outcome";
    private const string OwnPrefix = "BuildRunner-";
    private static readonly string[] Spoofable = ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Real-IP"];

    /// <summary>Set for a write to a database.</summary>
    public string? Database { get; init; }
    public long Epoch { get; init; }

    /// <summary>The cookie to give with a good answer; null: none.</summary>
    public string? SetCookie { get; init; }

    /// <summary>Database that the service uses, also for reads: a newer epoch in any answer is news.</summary>
    public string? ServiceDatabase { get; init; }

    public ExchangeEnd End { get; private set; } = ExchangeEnd.NoAnswer;
    public int Status { get; private set; }

    /// <summary>Epoch that the answer bore; null: none.</summary>
    public long? AnswerEpoch { get; private set; }

    public override async ValueTask TransformRequestAsync(HttpContext httpContext, HttpRequestMessage proxyRequest, string destinationPrefix, CancellationToken cancellationToken)
    {
        await base.TransformRequestAsync(httpContext, proxyRequest, destinationPrefix, cancellationToken);
        var headers = proxyRequest.Headers;
        foreach (var header in httpContext.Request.Headers)
        {
            if (header.Key.StartsWith(OwnPrefix, StringComparison.OrdinalIgnoreCase))
                headers.Remove(header.Key);
        }
        headers.Remove("Forwarded");
        headers.Remove("X-Forwarded-For");
        if (!read.PeerTrusted)
        {
            foreach (var name in Spoofable)
                headers.Remove(name);
        }
        headers.TryAddWithoutValidation("X-Forwarded-For", read.ForwardedFor);
        if (!headers.Contains("X-Forwarded-Proto"))
            headers.TryAddWithoutValidation("X-Forwarded-Proto", httpContext.Request.Scheme);
        if (!headers.Contains("X-Forwarded-Host"))
            headers.TryAddWithoutValidation("X-Forwarded-Host", httpContext.Request.Host.Value);
        headers.TryAddWithoutValidation("X-Gateway", gateway);
        if (Database is not null)
            headers.TryAddWithoutValidation(EpochHeader, Epoch.ToString(CultureInfo.InvariantCulture));
    }

    public override async ValueTask<bool> TransformResponseAsync(HttpContext httpContext, HttpResponseMessage? proxyResponse, CancellationToken cancellationToken)
    {
        if (proxyResponse is null)
            return false;
        Status = (int)proxyResponse.StatusCode;
        if (proxyResponse.Headers.TryGetValues(EpochHeader, out var values) && long.TryParse(values.FirstOrDefault(), NumberStyles.None, CultureInfo.InvariantCulture, out var epoch))
            AnswerEpoch = epoch;
        if (ServiceDatabase is { } database && AnswerEpoch is { } newer)
            table.HoldUntil(database, newer);
        if (Database is not null)
        {
            if (proxyResponse.StatusCode == HttpStatusCode.MisdirectedRequest && AnswerEpoch is not null)
            {
                End = ExchangeEnd.OtherEpoch;
                return false;
            }
            // Acknowledged under an epoch that has ended meanwhile: it may or may not be in the new timeline.
            if (Status < 400 && table.State?.View.Database(Database) is { } row && row.Epoch > Math.Max(Epoch, AnswerEpoch ?? 0))
            {
                End = ExchangeEnd.StaleEpoch;
                return false;
            }
        }
        End = ExchangeEnd.Passed;
        var passes = await base.TransformResponseAsync(httpContext, proxyResponse, cancellationToken);
        var answer = httpContext.Response.Headers;
        answer["X-Gateway"] = gateway;
        // A shared cache behind us must not hand one user's cookie to the next.
        if (SetCookie is not null && Status < 400 && proxyResponse.Headers.CacheControl is not ({ Public: true } or { SharedMaxAge: not null }))
            answer.SetCookie = StringValues.Concat(answer.SetCookie, SetCookie);
        return passes;
    }
}

/// <summary>How far a sending came.</summary>
internal enum ExchangeEnd
{
    /// <summary>No answer came.</summary>
    NoAnswer,

    /// <summary>The answer went to the user.</summary>
    Passed,

    /// <summary>421 for another epoch: proof that the write was not executed.</summary>
    OtherEpoch,

    /// <summary>A good answer of an epoch that had ended when it arrived.</summary>
    StaleEpoch,
}
