using BuildRunner.Server.Events;
using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Runbooks;

/// <summary>Looks at the user's folder of runbooks once a second; a good change is in force at once, a bad one changes nothing and is told.</summary>
internal sealed partial class RunbooksLoop(RunbookLibrary library, IEventLog events, TimeProvider time, ILogger<RunbooksLoop> logger)
    : ReconcileLoop(TimeSpan.FromSeconds(1), time, logger)
{
    public override async Task RunOnceAsync(CancellationToken cancel)
    {
        foreach (var change in library.Look())
        {
            if (change.Bad)
                LogRefused(logger, change.Name, change.Sentence);
            else
                LogChanged(logger, change.Sentence);
            await events.RecordAsync(change.Bad ? "runbook.rejected" : "runbook.changed", "file", change.Sentence, new Dictionary<string, string> { ["runbook"] = change.Name }, cancel);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Change}")]
    private static partial void LogChanged(ILogger logger, string change);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Runbook {Runbook}: {Complaint}")]
    private static partial void LogRefused(ILogger logger, string runbook, string complaint);
}
