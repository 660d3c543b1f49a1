using BuildRunner.Core.Alerting;
using BuildRunner.Server.Alerting.Channels;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Alerting;

/// <summary>
/// `notify`: tells a channel something in the course of a run. With `channel` (one name or several with commas; default `log`), `severity`
/// (default `info`) and `text`. The step's key is the notification's, so that a step that is repeated tells nobody twice.
/// </summary>
internal sealed class NotifyAction(Outbox outbox, OutboxLoop loop, ChannelSet channels, TimeProvider time) : IAction
{
    private const int ChannelsMax = 10;

    public string Name => "notify";

    public Task<ActionCheck> CheckAsync(ActionContext context, CancellationToken cancel)
    {
        var problems = new List<string>();
        var names = Channels(context);
        if (context.Argument("severity") is { } word && Severity(word) is null)
            problems.Add($"Step '{context.Step.Id}' has the severity '{word}'; it is info, warning or critical.");
        if (!context.Step.With.TryGetValue("text", out var text) || string.IsNullOrWhiteSpace(text))
            problems.Add($"Step '{context.Step.Id}' has no `text` to tell.");
        if (names.Count > ChannelsMax)
            problems.Add($"Step '{context.Step.Id}' names {names.Count} channels; {ChannelsMax} is the limit.");
        problems.AddRange(names.Select(channels.Problem).OfType<string>());
        return Task.FromResult(new ActionCheck { Problems = problems, Note = $"tell {string.Join(", ", names)}", Expected = TimeSpan.FromMilliseconds(50) });
    }

    public async Task<ActionOutcome> ActAsync(ActionContext context, CancellationToken cancel)
    {
        if (Severity(context.Argument("severity") ?? "info") is not { } severity || context.Argument("text") is not { } text)
            return new ActionOutcome.Refused("The step names no severity that there is, or has no text.");
        var notification = new Notification
        {
            Key = KeyOf(context),
            Severity = severity,
            Title = Texts.Line(text, Alert.TitleMax),
            Text = Texts.Cut(text, Notification.TextMax),
            At = time.GetUtcNow(),
            What = "note",
            Group = context.Run,
        };
        var names = Channels(context);
        await outbox.AddAsync(notification, names, context.Fence, cancel);
        var told = new List<string>();
        foreach (var name in names)
        {
            // Never a known failure: another key would tell again those who were told. The outbox goes on with it meanwhile.
            var delivery = await loop.DeliverAsync(Outbox.IdOf(notification.Key, name), context.Fence, cancel);
            if (delivery is not { State: DeliveryState.Sent })
                return new ActionOutcome.Failed($"{name} was not told: {delivery?.Error ?? "the notification is gone"}", Unknown: true);
            told.Add(name);
        }
        context.Progress($"told {string.Join(", ", told)}");
        return ActionOutcome.Finished(("channels", string.Join(",", told)), ("notification", notification.Key));
    }

    public async Task<ActionVerdict> VerifyAsync(ActionContext context, CancellationToken cancel)
    {
        foreach (var name in Channels(context))
        {
            if (await outbox.FindAsync(Outbox.IdOf(KeyOf(context), name), cancel) is not { State: DeliveryState.Sent })
                return new ActionVerdict.NotSo($"{name} was not told yet");
        }
        return new ActionVerdict.So(new Dictionary<string, string> { ["channels"] = string.Join(",", Channels(context)), ["notification"] = KeyOf(context) });
    }

    private static string KeyOf(ActionContext context) => $"run/{context.Key}";

    private static IReadOnlyList<string> Channels(ActionContext context) =>
        [.. (context.Argument("channel") ?? AlertRouting.Log).Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Distinct(StringComparer.Ordinal)];

    private static AlertSeverity? Severity(string word) => Enum.GetValues<AlertSeverity>().Where(s => AlertDecision.Word(s) == word).Select(s => (AlertSeverity?)s).FirstOrDefault();
}
