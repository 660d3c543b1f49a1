using BuildRunner.Core.Recovery;
using BuildRunner.Server.Runbooks;

namespace BuildRunner.Server.Alerting;

/// <summary>Work that came out of an incident and was not done in time: what it would prevent can happen again tonight.</summary>
internal sealed class OverdueActions(IncidentBook book, TimeProvider time) : IReadinessSource
{
    private const int FindingsMax = 20;

    public string Name => "post-mortems";

    public async Task<IReadOnlyList<ReadinessFinding>> ReadAsync(CancellationToken cancel)
    {
        var today = DateOnly.FromDateTime(time.GetUtcNow().UtcDateTime);
        return
        [
            .. (await book.ListAsync(cancel)).SelectMany(i => i.Actions.Where(a => a.Overdue(today)).Select(a => (Incident: i.Id, Action: a)))
                .OrderBy(o => o.Action.Due)
                .Take(FindingsMax)
                .Select(o => new ReadinessFinding
                {
                    Code = "action.overdue",
                    Severity = ReadinessSeverity.Warning,
                    Reason = string.Create(CultureInfo.InvariantCulture, $"Action {o.Action.Number} of {o.Incident} was due on {o.Action.Due:yyyy-MM-dd} and is not done: {o.Action.Text} ({o.Action.Owner})."),
                    Remedy = string.Create(CultureInfo.InvariantCulture, $"Do it, then `br incident action done {o.Incident} {o.Action.Number}`."),
                }),
        ];
    }
}
