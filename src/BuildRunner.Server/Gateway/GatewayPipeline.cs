using BuildRunner.Core.Routing;
using Microsoft.AspNetCore.Http;
using Yarp.ReverseProxy.Forwarder;

namespace BuildRunner.Server.Gateway;

/// <summary>The way of a user's request: classify, choose, forward, record. Nothing here asks the server.</summary>
internal sealed class GatewayPipeline(
    GatewayOptions options, GatewayTable table, RequestReader reader, HoldGate holds, WriteLedger writes, ReadLedger reads, ReleasePace pace, TrafficCounts traffic,
    Forwarding forwarding, GatewayAnswers answers, OwnEndpoints own, GatewaySignals signals, TimeProvider time)
{
    /// <summary>Waits between sendings of a write that was refused for its epoch: an agent's file follows the table by some milliseconds.</summary>
    private static readonly TimeSpan RefusedWaitMin = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan RefusedWaitMax = TimeSpan.FromMilliseconds(200);

    public async Task InvokeAsync(HttpContext context)
    {
        if (OwnEndpoints.IsOwn(context.Request.Path))
        {
            await own.AnswerAsync(context);
            return;
        }
        try { await RouteAsync(context); }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested) { } // the user has gone
        catch (BadHttpRequestException error)
        {
            await answers.WriteAsync(context, error.StatusCode, "gateway.bad-request", "The request cannot be read.", error.Message);
        }
        traffic.Answered(failed: context.Response.StatusCode >= 500);
    }

    private async Task RouteAsync(HttpContext context)
    {
        if (table.State is not { } state)
        {
            await answers.WriteAsync(context, 503, "gateway.no-table", "This gateway has no routing table yet.", "It has never reached its server; it is asking.", retryAfterSeconds: 1);
            return;
        }
        var (now, arrived) = (time.GetUtcNow(), time.GetTimestamp());
        var read = reader.Read(context, state, now);
        var decision = RegionChoice.Choose(read.Facts, state.View, now);
        if (decision is RegionDecision.Refuse refuse)
        {
            if (decision is { IsWrite: true, Match.Service.Database: { } database })
                writes.Delayed(database, arrived);
            await RefuseAsync(context, refuse);
        }
        else if (decision is { IsWrite: true, Match.Service.Database: not null })
            await WriteAsync(context, read, decision.Match);
        else if (decision is RegionDecision.Send send)
            await ReadAsync(context, state, read, send, now);
    }

    /// <summary>A read, or anything that touches no database: tried once more elsewhere when its connection failed before any byte of an answer.</summary>
    private async Task ReadAsync(HttpContext context, GatewayState state, RequestFactsRead read, RegionDecision.Send send, DateTimeOffset now)
    {
        var match = send.Match!;
        var isSafe = RouteMatch.IsSafe(context.Request.Method);
        var body = isSafe ? null : await RequestBody.TakeAsync(context, options.BufferedBodyMax, context.RequestAborted);
        var region = send.Region;
        string? failed = null;
        for (var attempt = 0; ; attempt++)
        {
            body?.Rewind(context);
            // Counted before the last look at the table: whoever waits for the reads of a region either is seen here or sees this one.
            if (match.Service.Database is { } database)
                reads.Begin(database, region);
            Sent sent;
            try
            {
                if (attempt == 0 && isSafe && !ReferenceEquals(table.State, state))
                {
                    await RouteAsync(context);
                    return;
                }
                sent = await forwarding.SendAsync(context, new Sending(state, read, match, region)
                {
                    Avoid = failed,
                    SetCookie = Cookie(context, state, read.Facts, send, region, now),
                });
            }
            finally
            {
                if (match.Service.Database is { } done)
                {
                    reads.End(done, region);
                    TellIfHeld(done);
                }
            }
            // Safe methods may be sent twice whatever happened; others only when nothing was sent, and the body is still here.
            var mayRepeat = attempt == 0 && sent is { Failed: true, CanAnswer: true, Refused: null } && !sent.TimedOut
                && (isSafe ? HttpMethods.IsGet(context.Request.Method) || HttpMethods.IsHead(context.Request.Method) || sent.NotSent : sent.NotSent && body!.IsKept);
            if (!mayRepeat || (send.Retry is null && sent.Instance is null))
            {
                await FinishAsync(context, sent, isWrite: !isSafe);
                return;
            }
            traffic.Retried();
            failed = send.Retry is null ? sent.Instance : null;
            region = send.Retry ?? region;
        }
    }

    /// <summary>
    /// A write to a database: waits while a hold is on, carries the epoch, and is sent again only after proof that it was not executed
    /// (no connection, or 421 for another epoch).
    /// </summary>
    private async Task WriteAsync(HttpContext context, RequestFactsRead read, RouteMatch match)
    {
        var database = match.Service.Database!;
        var body = await RequestBody.TakeAsync(context, options.BufferedBodyMax, context.RequestAborted);
        var started = time.GetTimestamp();
        var wait = RefusedWaitMin;
        var (held, unreachable) = (false, 0);
        string? avoid = null;
        while (true)
        {
            var changed = table.Changed;
            var state = table.State!;
            var patience = state.View.Table.Hold.Duration - time.GetElapsedTime(started);
            var decision = RegionChoice.Choose(read.Facts, state.View, time.GetUtcNow());
            var hold = decision is RegionDecision.Hold { HoldId: var id } ? id : decision is RegionDecision.Send ? table.LocalHoldOf(database) : null;
            if (hold is not null)
            {
                if (!held)
                    traffic.Held();
                held = true;
                writes.Delayed(database, started);
                if (await holds.WaitAsync(database, hold, body.Bytes, patience, context.RequestAborted) is var end and not HoldEnd.Released)
                {
                    await HoldEndedAsync(context, database, end);
                    return;
                }
                continue;
            }
            if (decision is RegionDecision.Refuse refuse)
            {
                writes.Delayed(database, started);
                await RefuseAsync(context, refuse);
                return;
            }
            if (decision is not RegionDecision.Send { Database: not null } send)
                return; // the route stopped being a write while we waited: the table never does that to a database route

            if (await pace.EnterAsync(database, held, patience, time, context.RequestAborted) is var turn && turn == false)
            {
                await HoldEndedAsync(context, database, HoldEnd.Expired);
                return;
            }
            Sent sent;
            bool? answered = null;
            // Counted before the last look at the table: whoever installs a hold either is seen here or sees this write.
            writes.Begin(database);
            try
            {
                if (!ReferenceEquals(table.State, state))
                    continue;
                body.Rewind(context);
                sent = await forwarding.SendAsync(context, new Sending(state, read, send.Match!, send.Region) { Avoid = avoid, Database = database, Epoch = send.Epoch });
                answered = sent is { End: ExchangeEnd.Passed, Status: < 500 };
                if (sent is { End: ExchangeEnd.Passed, Status: < 400 } && writes.Acknowledged(database, Math.Max(send.Epoch, sent.AnswerEpoch ?? 0), started))
                    signals.ReportSoon();
                else if (sent is not { End: ExchangeEnd.Passed, Status: < 500 })
                    writes.Delayed(database, started);
            }
            finally
            {
                writes.End(database);
                if (turn == true)
                    pace.Leave(database, answered);
                TellIfHeld(database);
            }

            if (sent.End == ExchangeEnd.OtherEpoch)
            {
                if (patience <= TimeSpan.Zero || !body.IsKept)
                {
                    await answers.WriteAsync(context, 503, "gateway.epoch-refused", $"The application in {send.Region} is not at epoch {send.Epoch} of {database}.", "The write was not executed; send it again.", retryAfterSeconds: 1);
                    return;
                }
                traffic.Retried();
                await changed.WaitAsync(wait < patience ? wait : patience, time, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                context.RequestAborted.ThrowIfCancellationRequested();
                wait = wait * 2 < RefusedWaitMax ? wait * 2 : RefusedWaitMax;
                continue;
            }
            // Nothing was sent. Another instance may take it, once; or the table has moved meanwhile.
            if (sent is { NotSent: true, CanAnswer: true } && body.IsKept && unreachable++ == 0)
            {
                traffic.Retried();
                avoid = sent.Instance;
                continue;
            }
            await FinishAsync(context, sent, isWrite: true);
            return;
        }
    }

    /// <summary>A run that holds the database waits for what is still out.</summary>
    private void TellIfHeld(string database)
    {
        if (table.State?.View.Database(database)?.HoldId is not null)
            signals.ReportSoon();
    }

    private async Task FinishAsync(HttpContext context, Sent sent, bool isWrite)
    {
        if (sent.End == ExchangeEnd.StaleEpoch)
        {
            traffic.Unknown();
            await answers.WriteAsync(context, 504, "gateway.outcome-unknown", "The write was answered under an epoch that has ended meanwhile.", "It may or may not have survived: ask for what it made before sending it again.", unknownOutcome: true);
        }
        else if (sent.End == ExchangeEnd.Passed)
        {
            traffic.Served(sent.Region);
        }
        else if (!sent.CanAnswer)
        {
            return;
        }
        else if (sent.Refused is { } status)
        {
            context.Response.Headers.Connection = "close"; // what is left of the body is not read
            await answers.WriteAsync(
                context, status, status == 413 ? "gateway.body-too-large" : "gateway.bad-request",
                status == 413 ? $"The request's body is larger than the {options.BodyMax} bytes that this gateway takes." : $"The request's body is not valid HTTP: {sent.Reason.TrimEnd('.')}.",
                "The application never got the whole of it.");
        }
        else if (sent.Instance is null)
        {
            await answers.WriteAsync(context, 503, "gateway.no-instance", $"No instance of {sent.Service} in {sent.Region} can take the request.", retryAfterSeconds: 1);
        }
        else if (sent.NotSent)
        {
            await answers.WriteAsync(context, 503, "gateway.unreachable", $"{sent.Service} in {sent.Region} is not reached: {sent.Reason}.", isWrite ? "The write was not sent; send it again." : null, retryAfterSeconds: 1);
        }
        else
        {
            if (isWrite)
                traffic.Unknown();
            await answers.WriteAsync(
                context, sent.TimedOut ? 504 : 502, sent.TimedOut ? "gateway.timed-out" : "gateway.connection-lost",
                sent.TimedOut ? $"{sent.Service} in {sent.Region} did not answer in time." : $"The connection to {sent.Service} in {sent.Region} was lost before it answered.",
                isWrite ? "The write may or may not have been executed: ask for what it made before sending it again." : null, unknownOutcome: isWrite);
        }
    }

    private Task HoldEndedAsync(HttpContext context, string database, HoldEnd end) =>
        end == HoldEnd.Full
            ? answers.WriteAsync(context, 503, "gateway.hold-full", $"Writes to {database} wait, and there is no room for another.", "It was not sent; send it again.", retryAfterSeconds: 2)
            : answers.WriteAsync(context, 503, "gateway.hold-expired", $"Writes to {database} have waited as long as they may.", "It was not sent; send it again.", retryAfterSeconds: 2);

    private Task RefuseAsync(HttpContext context, RegionDecision.Refuse refuse) =>
        answers.WriteAsync(context, refuse.Status, refuse.Problem, refuse.Because, retryAfterSeconds: refuse.Status == 503 ? 1 : null);

    /// <summary>Affinity follows reads; a write goes where the epoch is and says nothing about where its user belongs.</summary>
    private static string? Cookie(HttpContext context, GatewayState state, RequestFacts facts, RegionDecision.Send send, string region, DateTimeOffset now)
    {
        var lifetime = state.View.Table.Affinity;
        if (!state.View.Table.MultiRegion || send.IsWrite || send.Precision == RoutePrecision.Cookie || state.AffinityKeys.Count == 0 || !AffinityCookie.ShouldIssue(facts.Affinity, region, now, lifetime))
            return null;
        var value = AffinityCookie.Issue(region, now, lifetime, state.AffinityKeys[0]);
        return string.Create(CultureInfo.InvariantCulture, $"{AffinityCookie.Name}={value}; Path=/; Max-Age={(long)lifetime.TotalSeconds}; HttpOnly; SameSite=Lax{(context.Request.IsHttps ? "; Secure" : "")}");
    }
}
