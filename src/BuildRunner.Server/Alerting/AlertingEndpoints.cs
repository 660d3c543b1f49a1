using System.Security.Claims;
using BuildRunner.Client.Alerting;
using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Alerting.Channels;
using BuildRunner.Server.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace BuildRunner.Server.Alerting;

/// <summary>`/v1/incidents` and `/v1/alerts`.</summary>
internal static class AlertingEndpoints
{
    private const int OwnerMax = 100;
    private const int ActionMax = 500;
    private static readonly TimeSpan DueMax = TimeSpan.FromDays(3660);

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/alerts", AlertsAsync).RequireAuthorization("viewer");
        var incidents = routes.MapGroup("/v1/incidents");
        incidents.MapGet("/", ListAsync).RequireAuthorization("viewer");
        incidents.MapGet("/{id}", ShowAsync).RequireAuthorization("viewer");
        incidents.MapGet("/{id}/postmortem", PostMortemAsync).RequireAuthorization("viewer");
        incidents.MapPost("/{id}/ack", AcknowledgeAsync).RequireAuthorization("operator");
        incidents.MapPost("/{id}/mitigate", MitigateAsync).RequireAuthorization("operator");
        incidents.MapPost("/{id}/notes", NoteAsync).RequireAuthorization("operator");
        incidents.MapPost("/{id}/resolve", ResolveAsync).RequireAuthorization("operator");
        incidents.MapPost("/{id}/actions", AddActionAsync).RequireAuthorization("operator");
        incidents.MapPost("/{id}/actions/{number}/done", FinishActionAsync).RequireAuthorization("operator");
    }

    private static async Task<IResult> AlertsAsync(IncidentBook book, Outbox outbox, ChannelSet channels, CancellationToken cancel)
    {
        var (pending, ended) = (await outbox.PendingAsync(cancel), await outbox.EndedAsync(cancel));
        return Results.Json(new AlertList
        {
            Alerts = await book.AlertsAsync(cancel),
            Channels = [.. channels.All.Select(channel => Row(channel, channels.Problem(channel), pending, ended))],
        }, AlertingJson.Default.AlertList);
    }

    private static ChannelItem Row(ChannelDefinition channel, string? problem, IReadOnlyList<Delivery> pending, IReadOnlyList<Delivery> ended)
    {
        var mine = ended.Where(d => d.Channel == channel.Name).ToList();
        var waiting = pending.Where(d => d.Channel == channel.Name).ToList();
        return new ChannelItem
        {
            Name = channel.Name,
            Type = channel.Type,
            Problem = problem,
            Pending = waiting.Count,
            Failed = mine.Count(d => d.State == DeliveryState.Failed),
            LastSentAt = mine.LastOrDefault(d => d.State == DeliveryState.Sent)?.EndedAt,
            LastError = waiting.Select(d => d.Error).LastOrDefault(error => error is not null) ?? (mine is [.., { State: DeliveryState.Failed } last] ? last.Error : null),
        };
    }

    private static async Task<IResult> ListAsync(IncidentBook book, bool? open, int? limit, CancellationToken cancel)
    {
        if (limit is < 1 or > IncidentRetention.IncidentsMax)
            return Problems.Invalid("alerting.limit", $"limit is {limit}; it is a number from 1 to {IncidentRetention.IncidentsMax}.");
        var incidents = (await book.ListAsync(cancel)).Where(i => open != true || !i.Ended).Take(limit ?? 50);
        return Results.Json(new IncidentList { Incidents = [.. incidents] }, AlertingJson.Default.IncidentList);
    }

    private static Task<IResult> ShowAsync(string id, IncidentBook book, Outbox outbox, CancellationToken cancel) => DetailAsync(id, book, outbox, cancel);

    private static async Task<IResult> PostMortemAsync(string id, IncidentBook book, PostMortemReader reader, TimeProvider time, CancellationToken cancel) =>
        await reader.ReadAsync(id, cancel) is { } facts
            ? Results.Json(new PostMortemDocument { Incident = id, Markdown = PostMortem.Write(facts, time.GetUtcNow()) }, AlertingJson.Default.PostMortemDocument)
            : await UnknownAsync(id, book, cancel);

    private static Task<IResult> AcknowledgeAsync(string id, IncidentNote note, IncidentBook book, Outbox outbox, TimeProvider time, ClaimsPrincipal user, CancellationToken cancel) =>
        MoveAsync(id, note.Text, i => IncidentMove.Acknowledge(i, Actor(user), time.GetUtcNow()), TimelineKind.State, "acknowledged", book, outbox, user, cancel);

    private static Task<IResult> MitigateAsync(string id, IncidentNote note, IncidentBook book, Outbox outbox, TimeProvider time, ClaimsPrincipal user, CancellationToken cancel) =>
        MoveAsync(id, note.Text, i => IncidentMove.Mitigate(i, time.GetUtcNow(), $"{Actor(user)} says so."), TimelineKind.State, "mitigated", book, outbox, user, cancel);

    /// <summary>Also on an incident that is over: what is learned later belongs on its timeline.</summary>
    private static async Task<IResult> NoteAsync(string id, IncidentNote note, IncidentBook book, Outbox outbox, TimeProvider time, ClaimsPrincipal user, CancellationToken cancel)
    {
        if (TextWrong(note.Text, "note", TimelineEntry.TextMax, required: true) is { } wrong)
            return wrong;
        if (await book.GetAsync(id, cancel) is null)
            return await UnknownAsync(id, book, cancel);
        var text = note.Text!.Trim();
        await book.AddLineAsync(id, new TimelineEntry { At = time.GetUtcNow(), Kind = TimelineKind.Note, Actor = Actor(user), Text = text }, null, CancellationToken.None);
        await book.TellAsync("note", id, Actor(user), $"{id}: {text}", CancellationToken.None);
        return await DetailAsync(id, book, outbox, cancel);
    }

    private static async Task<IResult> ResolveAsync(string id, IncidentResolution order, IncidentBook book, Outbox outbox, Alerts alerts, ClaimsPrincipal user, CancellationToken cancel)
    {
        if (TextWrong(order.Text, "text", TimelineEntry.TextMax / 2) is { } wrong)
            return wrong;
        return await AnswerAsync(id, await alerts.ResolveAsync(id, Actor(user), order.Text, order.Force, CancellationToken.None), book, outbox,
            "Wait until it has cleared, or resolve it all the same with --force: what still fires opens a new incident.", cancel);
    }

    private static Task<IResult> AddActionAsync(string id, IncidentActionOrder order, IncidentBook book, Outbox outbox, TimeProvider time, ClaimsPrincipal user, CancellationToken cancel)
    {
        var now = time.GetUtcNow();
        var today = DateOnly.FromDateTime(now.UtcDateTime);
        if (TextWrong(order.Text, "action", ActionMax, required: true) is { } text)
            return Task.FromResult(text);
        if (TextWrong(order.Owner, "owner", OwnerMax, required: true) is { } owner)
            return Task.FromResult(owner);
        if (order.Due < today || order.Due > today.AddDays((int)DueMax.TotalDays))
            return Task.FromResult(Problems.Invalid("alerting.due", string.Create(CultureInfo.InvariantCulture, $"The action would be due on {order.Due:yyyy-MM-dd}."), "Name a day from today on, at most ten years away."));
        return MoveAsync(id, null, i => IncidentMove.AddAction(i, Texts.Line(order.Text, ActionMax), Texts.Line(order.Owner, OwnerMax), order.Due, Actor(user), now), TimelineKind.Action, "action", book, outbox, user, cancel);
    }

    private static Task<IResult> FinishActionAsync(string id, int number, IncidentNote note, IncidentBook book, Outbox outbox, TimeProvider time, ClaimsPrincipal user, CancellationToken cancel) =>
        MoveAsync(id, note.Text, i => IncidentMove.FinishAction(i, number, Actor(user), time.GetUtcNow()), TimelineKind.Action, "action_done", book, outbox, user, cancel);

    private static async Task<IResult> MoveAsync(
        string id, string? words, Func<Incident, IncidentMove> decide, TimelineKind kind, string what, IncidentBook book, Outbox outbox, ClaimsPrincipal user, CancellationToken cancel)
    {
        if (TextWrong(words, "text", TimelineEntry.TextMax / 2) is { } wrong)
            return wrong;
        // Once begun it is not given up: a change without its line would be half a change.
        var move = await book.MoveAsync(id, decide, kind, what, Actor(user), words, null, CancellationToken.None);
        return await AnswerAsync(id, move, book, outbox, $"`br incident show {id}` tells the whole story.", cancel);
    }

    private static async Task<IResult> AnswerAsync(string id, IncidentMove? move, IncidentBook book, Outbox outbox, string advice, CancellationToken cancel) => move switch
    {
        null => await UnknownAsync(id, book, cancel),
        IncidentMove.Refused refused => Problems.Refused("alerting.refused", refused.Reason, advice),
        _ => await DetailAsync(id, book, outbox, cancel), // what is so already is no failure
    };

    private static async Task<IResult> DetailAsync(string id, IncidentBook book, Outbox outbox, CancellationToken cancel) =>
        await book.GetAsync(id, cancel) is { } incident
            ? Results.Json(new IncidentDetail
            {
                Incident = incident,
                Timeline = await book.TimelineAsync(id, cancel),
                Deliveries = [.. (await outbox.AboutAsync(id, cancel)).Select(Item)],
            }, AlertingJson.Default.IncidentDetail)
            : await UnknownAsync(id, book, cancel);

    private static DeliveryItem Item(Delivery delivery) => new()
    {
        Channel = delivery.Channel,
        What = delivery.Notification.What,
        State = delivery.State,
        Attempts = delivery.Attempts,
        At = delivery.Notification.At,
        EndedAt = delivery.EndedAt,
        Error = delivery.Error,
    };

    private static async Task<IResult> UnknownAsync(string id, IncidentBook book, CancellationToken cancel)
    {
        var near = Nearest.To(id, (await book.ListAsync(cancel)).Select(i => i.Id));
        return Problems.NotFound("alerting.unknown", $"There is no incident '{Texts.Line(id, 80)}'.", near is null ? "`br incident list` shows them." : $"Did you mean {near}?");
    }

    private static IResult? TextWrong(string? text, string what, int max, bool required = false) =>
        required && string.IsNullOrWhiteSpace(text) ? Problems.Invalid("alerting.text", $"The {what} is empty.", "Write it in a few words.")
        : text?.Length > max ? Problems.Invalid("alerting.text", $"The {what} has {text.Length} characters; {max} is the limit.")
        : null;

    private static string Actor(ClaimsPrincipal user) => user.Identity?.Name ?? "unknown";
}
