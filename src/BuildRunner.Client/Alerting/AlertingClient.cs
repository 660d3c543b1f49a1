namespace BuildRunner.Client.Alerting;

/// <summary>Incidents and alerts over the public API.</summary>
public sealed class AlertingClient(ApiConnection api)
{
    /// <summary>The newest incidents, newest first; with <paramref name="open"/>, only those that are not over.</summary>
    public Task<IncidentList> ListAsync(bool open, int limit, CancellationToken cancel) =>
        api.GetAsync($"/v1/incidents?limit={limit.ToString(CultureInfo.InvariantCulture)}{(open ? "&open=true" : "")}", AlertingJson.Default.IncidentList, cancel);

    public Task<IncidentDetail> ShowAsync(string id, CancellationToken cancel) => api.GetAsync(Path(id), AlertingJson.Default.IncidentDetail, cancel);

    public Task<IncidentDetail> AcknowledgeAsync(string id, string? text, CancellationToken cancel) => SendAsync(id, "ack", text, cancel);

    public Task<IncidentDetail> MitigateAsync(string id, string? text, CancellationToken cancel) => SendAsync(id, "mitigate", text, cancel);

    public Task<IncidentDetail> NoteAsync(string id, string text, CancellationToken cancel) => SendAsync(id, "notes", text, cancel);

    public Task<IncidentDetail> ResolveAsync(string id, IncidentResolution resolution, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, $"{Path(id)}/resolve", resolution, AlertingJson.Default.IncidentResolution, AlertingJson.Default.IncidentDetail, cancel);

    public Task<IncidentDetail> AddActionAsync(string id, IncidentActionOrder action, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, $"{Path(id)}/actions", action, AlertingJson.Default.IncidentActionOrder, AlertingJson.Default.IncidentDetail, cancel);

    public Task<IncidentDetail> FinishActionAsync(string id, int number, CancellationToken cancel) =>
        SendAsync(id, $"actions/{number.ToString(CultureInfo.InvariantCulture)}/done", null, cancel);

    public Task<PostMortemDocument> PostMortemAsync(string id, CancellationToken cancel) =>
        api.GetAsync($"{Path(id)}/postmortem", AlertingJson.Default.PostMortemDocument, cancel);

    public Task<AlertList> AlertsAsync(CancellationToken cancel) => api.GetAsync("/v1/alerts", AlertingJson.Default.AlertList, cancel);

    private Task<IncidentDetail> SendAsync(string id, string verb, string? text, CancellationToken cancel) =>
        api.SendAsync(HttpMethod.Post, $"{Path(id)}/{verb}", new IncidentNote { Text = text }, AlertingJson.Default.IncidentNote, AlertingJson.Default.IncidentDetail, cancel);

    private static string Path(string id) => $"/v1/incidents/{Uri.EscapeDataString(id)}";
}
