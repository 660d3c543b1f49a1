using System.Text.Json;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;

namespace BuildRunner.Server.Runbooks;

/// <summary>Reads what a run's last line says of its outage and loss: `outage_ms` and `lost` of its report.</summary>
internal static class RunReports
{
    public static RunReport? FromJournal(RunState state)
    {
        if (state.Report is not { ValueKind: JsonValueKind.Object } report)
            return null;
        double? outage = report.TryGetProperty("outage_ms", out var ms) && ms.ValueKind == JsonValueKind.Number ? ms.GetDouble() : null;
        var lost = report.TryGetProperty("lost", out var data) && data.ValueKind == JsonValueKind.Object ? data.Deserialize(RunbooksJson.Default.RunLost) : null;
        return new RunReport(report, outage, lost);
    }
}
