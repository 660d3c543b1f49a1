using System.CommandLine;
using System.Net;
using BuildRunner.Client;
using BuildRunner.Client.Regions;
using BuildRunner.Core.Regions;

namespace BuildRunner.Cli;

/// <summary>`br status`, also bare `br`: how it stands, what is wrong, since when, and what to type next.</summary>
internal static class StatusCommand
{
    /// <summary>An operator who waits for a server that hangs is worse off than one who is told.</summary>
    private static readonly TimeSpan PatienceMax = TimeSpan.FromSeconds(2);

    public static Command Build() => new Command("status", "How everything stands, in one sentence, and what to type next (also bare `br`)").Does(RunAsync);

    public static async Task<ExitCode> RunAsync(CliContext context)
    {
        var (status, away) = await ReadAsync(CliEndpoints.Find(context.Parse.GetValue(CliContext.Server), context.Parse.GetValue(CliContext.TokenFile)), context.Cancel);
        if (context.Form != OutputForm.Table && away is not null)
            await Console.Error.WriteLineAsync($"br: {away}");
        context.Print(status, RegionsJson.Default.StatusAnswer, (_, s) => StatusText.Write(Console.Out, s, away, Colour(context.Parse.GetValue(CliContext.NoColor))));
        return CodeOf(status, away);
    }

    /// <summary>The same without the command line's machinery: `br` and `br status` as they stand.</summary>
    public static bool IsPlain(string[] args) => args is [] or ["status"];

    public static async Task<int> RunPlainAsync()
    {
        try
        {
            var (status, away) = await ReadAsync(CliEndpoints.Find(null, null), CancellationToken.None);
            StatusText.Write(Console.Out, status, away, Colour(plain: false));
            return (int)CodeOf(status, away);
        }
        catch (CliException error)
        {
            await Console.Error.WriteLineAsync($"br: {error.Message}");
            return (int)error.Code;
        }
        catch (ApiException error)
        {
            await Console.Error.WriteLineAsync($"br: {error.Message}");
            return (int)(error.Status is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden ? ExitCode.NotPermitted : ExitCode.Failed);
        }
    }

    private static async Task<(StatusAnswer Status, string? Away)> ReadAsync(CliEndpoints endpoints, CancellationToken cancel)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        patience.CancelAfter(PatienceMax);
        try { return (await new RegionsClient(endpoints.Connect()).StatusAsync(patience.Token), null); }
        catch (ApiUnreachableException error) { return Away(endpoints, error.Message); }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { return Away(endpoints, $"The server at {endpoints.Server} did not answer within {PatienceMax.TotalSeconds:0} s."); }
    }

    private static (StatusAnswer, string) Away(CliEndpoints endpoints, string reason)
    {
        if (SavedTable.Find(endpoints.Folder) is not { } saved)
            throw new CliException(ExitCode.ServerUnreachable, $"{reason} No saved table is here to say more. Is it running? `br dev status` tells; `./br dev --detach` starts one.");
        var now = DateTimeOffset.UtcNow;
        return (saved.Status(now), $"Server not reachable at {endpoints.Server}; last table from {saved.Table.At.ToLocalTime().ToString("HH:mm:ss", CultureInfo.InvariantCulture)} ({Words.Of(now - saved.Table.At)} ago, {Path.GetRelativePath(Environment.CurrentDirectory, saved.Path)}). Gateways go on with it.");
    }

    private static ExitCode CodeOf(StatusAnswer status, string? away) =>
        away is not null ? ExitCode.ServerUnreachable
        : status.Health == HealthState.Healthy ? ExitCode.Fine
        : ExitCode.Refused;

    private static bool Colour(bool plain) => !plain && !Console.IsOutputRedirected && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));
}
