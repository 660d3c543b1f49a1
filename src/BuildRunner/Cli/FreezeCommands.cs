using System.CommandLine;
using BuildRunner.Client.Policy;
using BuildRunner.Core.Policy;

namespace BuildRunner.Cli;

/// <summary>`br freeze`: no automatic act for a while (room Policy).</summary>
internal static class FreezeCommands
{
    public static Command Build()
    {
        var reason = new Option<string?>("--reason") { Description = "Why" };
        var until = new Option<string?>("--until") { Description = "Until when: 2h, 3 days, or 2026-12-24T18:00Z; at most 30 days" };
        var lift = new Option<bool>("--lift") { Description = "End the freeze" };
        return new Command("freeze", "No automatic act until a time; without options, show the freeze (room Policy)") { reason, until, lift }.Does(async context =>
        {
            var (why, end, lifts) = (context.Parse.GetValue(reason), context.Parse.GetValue(until), context.Parse.GetValue(lift));
            if (lifts && (why ?? end) is not null)
                throw new CliException(ExitCode.Usage, "--lift ends a freeze and takes no --reason and no --until.");
            if ((why is null) != (end is null))
                throw new CliException(ExitCode.Usage, $"A freeze needs {(why is null ? "--reason" : "--until")} too: br freeze --reason \"stocktaking\" --until 2h.");
            var api = context.Api();
            var client = new PolicyClient(api);
            if (lifts)
                await client.LiftAsync(context.Cancel);
            var view = why is null
                ? await client.FreezeAsync(context.Cancel)
                : await client.FreezeAsync(new FreezeOrder(why, Until(end!, DateTimeOffset.UtcNow)), context.Cancel);
            context.Print(view, PolicyJson.Default.FreezeView, (_, data) => Console.Out.WriteLine(data.Frozen
                ? $"Frozen on {api.Server} until {data.Until!.Value.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture)} UTC by {data.By}: {data.Reason}"
                : $"Not frozen on {api.Server}: automatic acts go on."));
            return ExitCode.Fine;
        });
    }

    /// <summary>A time, or how long from now. A time without a zone is UTC.</summary>
    internal static DateTimeOffset Until(string text, DateTimeOffset now)
    {
        if (Units.TryDuration(text, out var duration, out _, out _) && duration > TimeSpan.Zero)
            return now + duration;
        return text.Length >= 10 && text[4] == '-' && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var at)
            ? at
            : throw new CliException(ExitCode.Usage, $"'{text}' is neither a time nor a duration: write 2h, 3 days or 2026-12-24T18:00Z.");
    }
}
