using System.CommandLine;
using BuildRunner.Client.Recovery;
using BuildRunner.Core.Recovery;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br dr evidence …`: what an auditor gets, and how it is checked without a server.</summary>
internal static class EvidenceCommands
{
    /// <summary>A file of evidence is read whole.</summary>
    private const int BytesMax = 64 * 1024 * 1024;
    private static readonly Option<string> From = new("--from") { Description = "Beginning of the period: a day (2026-10-01, UTC) or a time", HelpName = "date", Required = true };
    private static readonly Option<string?> To = new("--to") { Description = "End of the period, not in it (default: now)", HelpName = "date" };
    private static readonly Option<string> Out = new("--out") { Description = "File to write", HelpName = "file", Required = true };

    public static Command Build() => new Command("evidence", "Writes what a period proves about recovery, signed: objectives, drills, failovers, approvals, and what is missing") { From, To, Out, Verify(), Key() }.Does(async context =>
    {
        var parse = context.Parse;
        var from = Time("--from", parse.GetRequiredValue(From));
        var to = parse.GetValue(To) is { } end ? Time("--to", end) : DateTimeOffset.UtcNow;
        var path = parse.GetRequiredValue(Out);
        var bytes = await context.Api().EvidenceAsync(from, to, context.Cancel);
        if (EvidenceFile.Verify(bytes, null) is not EvidenceVerdict.Genuine genuine)
            throw new CliException(ExitCode.Failed, "The server's answer is no evidence, or was changed on its way. Nothing was written.");
        try { await File.WriteAllBytesAsync(path, bytes, context.Cancel); }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { throw new CliException(ExitCode.Failed, $"{path} cannot be written: {error.Message}"); }
        context.Print(Checked(path, genuine), DrillsJson.Default.EvidenceCheck, (console, _) =>
        {
            Table(console, genuine.Evidence);
            console.MarkupLineInterpolated($"Written to {path}, signed by {genuine.Fingerprint}");
        });
        return ExitCode.Fine;
    });

    private static Command Verify()
    {
        var file = new Argument<string>("file") { Description = "A file that `br dr evidence` wrote" };
        var trusted = new Option<string?>("--fingerprint") { Description = "Fingerprint of the server's key, as `br dr evidence key` printed it where you trust it", HelpName = "SHA256:…" };
        return new Command("verify", "Check a file of evidence without any server: 0 genuine, 1 changed after it was signed, 4 signed by another key than --fingerprint, 2 no evidence") { file, trusted }.Does(context =>
        {
            var path = context.Parse.GetRequiredValue(file);
            if (!File.Exists(path))
                throw new CliException(ExitCode.Usage, $"There is no file {path}.");
            if (new FileInfo(path).Length > BytesMax)
                throw new CliException(ExitCode.Usage, $"{path} is longer than {BytesMax / (1024 * 1024)} MiB: no evidence is.");
            switch (EvidenceFile.Verify(File.ReadAllBytes(path), context.Parse.GetValue(trusted)))
            {
                case EvidenceVerdict.Genuine genuine:
                    context.Print(Checked(path, genuine), DrillsJson.Default.EvidenceCheck, (console, _) =>
                    {
                        console.MarkupLineInterpolated($"[green]✓ genuine[/] {path}: every byte is as {genuine.Fingerprint} signed it");
                        if (!genuine.Vouched)
                            console.MarkupLine("[yellow]Whose key that is, this file cannot prove:[/] compare the fingerprint with `br dr evidence key` on the server, or give it with --fingerprint.");
                        Table(console, genuine.Evidence);
                    });
                    return Task.FromResult(ExitCode.Fine);
                case EvidenceVerdict.Stranger stranger:
                    throw new CliException(ExitCode.Refused, $"{path} is signed by {stranger.Fingerprint}, and you trust another key.");
                case EvidenceVerdict.Forged forged:
                    throw new CliException(ExitCode.Failed, $"{path} is not genuine. {forged.Reason}");
                case EvidenceVerdict.Unreadable unreadable:
                    throw new CliException(ExitCode.Usage, $"{path} cannot be read as evidence. {unreadable.Reason}");
                default:
                    throw new InvalidOperationException("A file of evidence was judged in no known way.");
            }
        });
    }

    private static Command Key() => new Command("key", "Show the key with which this server signs evidence; tell auditors its fingerprint by another way than the file").Does(async context =>
    {
        context.Print(await context.Api().EvidenceKeyAsync(context.Cancel), DrillsJson.Default.EvidenceKeyAnswer, (console, answer) =>
        {
            console.WriteLine(answer.Key.Fingerprint);
            console.MarkupLineInterpolated($"[grey]{answer.Key.Algorithm}, public key {answer.Key.PublicKey}[/]");
        });
        return ExitCode.Fine;
    });

    private static EvidenceCheck Checked(string path, EvidenceVerdict.Genuine genuine) =>
        new() { File = path, Genuine = true, Fingerprint = genuine.Fingerprint, Vouched = genuine.Vouched, From = genuine.Evidence.From, To = genuine.Evidence.To, Drills = genuine.Evidence.Drills.Count, Gaps = genuine.Evidence.Gaps };

    private static void Table(IAnsiConsole console, Evidence evidence)
    {
        console.MarkupLineInterpolated($"{evidence.From:yyyy-MM-dd HH:mm} to {evidence.To:yyyy-MM-dd HH:mm} UTC, by {evidence.Server} ({evidence.Version}) for {evidence.MadeBy} on {evidence.MadeAt:yyyy-MM-dd HH:mm}");
        console.MarkupLineInterpolated($"{evidence.Objectives.Count} sets of objectives, {evidence.Drills.Count} drills, {evidence.Moves.Count} moves of a primary, {evidence.Approvals.Count} approvals, {evidence.Backups.Count} backups, {evidence.RestoreTests.Count} restore tests");
        console.MarkupLineInterpolated($"[bold]{evidence.Gaps.Count} gaps[/]");
        foreach (var gap in evidence.Gaps)
            console.MarkupLineInterpolated($"  - {gap}");
    }

    /// <summary>A time without a zone is UTC.</summary>
    private static DateTimeOffset Time(string option, string text) =>
        text.Length >= 10 && text[4] == '-' && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var at)
            ? at
            : throw new CliException(ExitCode.Usage, $"{option} {text} is no time: write 2026-10-01 or 2026-10-01T12:00Z.");
}
