using System.CommandLine;
using System.Text;
using BuildRunner.Client.Policy;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Policy;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br config`: what BuildRunner shall do (room Policy).</summary>
internal static class ConfigCommands
{
    public static Command Build() => new("config", "The policy: check it, show what is in force, apply another (room Policy)") { Validate(), Show(), Apply() };

    private static Command Validate()
    {
        var file = new Argument<string?>("file") { Description = "The policy (default: BR_POLICY, then governance/policy.yml)", Arity = ArgumentArity.ZeroOrOne };
        return new Command("validate", "Say everything that is wrong with a policy, with line and fix; needs no server") { file }.Does(context =>
        {
            var (name, binding) = Bind(context, context.Parse.GetValue(file));
            var verdict = new PolicyVerdict { Valid = binding.Document is not null, Errors = [.. binding.Errors.Select(PolicySource.View)] };
            context.Print(verdict, PolicyJson.Default.PolicyVerdict, (_, _) =>
            {
                foreach (var error in binding.Errors)
                {
                    Console.Out.WriteLine($"{error.At}: {(error.Path.Length == 0 || error.At.IsVariable ? "" : error.Path + ": ")}{error.Message}");
                    Console.Out.WriteLine($"    fix: {error.Fix}");
                }
            });
            if (verdict.Valid)
                context.Talk.WriteLine($"{name} is good.");
            else
                context.Talk.WriteLine($"{name}: {(binding.Errors.Count == 1 ? "1 error" : $"{binding.Errors.Count} errors")}.");
            return Task.FromResult(verdict.Valid ? ExitCode.Fine : ExitCode.Usage);
        });
    }

    private static Command Show()
    {
        var sources = new Option<bool>("--sources") { Description = "Every effective value and where it came from" };
        var file = new Option<string?>("--file") { Description = "Show what this file would mean here, without a server" };
        return new Command("show", "The policy in force, whole, with every default") { sources, file }.Does(async context =>
        {
            var withSources = context.Parse.GetValue(sources);
            if (context.Parse.GetValue(file) is { } path)
            {
                var (name, binding) = Bind(context, path);
                if (binding.Document is null)
                    throw new CliException(ExitCode.Usage, $"{name} has {binding.Errors.Count} error(s): `br config validate {name}` lists them.");
                var effective = new PolicyEffective { File = name, Effective = PolicyBinder.Render(binding.Document), Values = [.. binding.Values.Select(v => new PolicyValueView(v.Path, v.Value, v.Source))] };
                context.Print(effective, PolicyJson.Default.PolicyEffective, (_, data) => Write(data.Effective, data.Values, withSources));
                return ExitCode.Fine;
            }
            var view = await new PolicyClient(context.Api()).ShowAsync(context.Cancel);
            context.Print(view, PolicyJson.Default.PolicyView, (_, data) => Write(data.Effective, data.Values, withSources));
            context.Talk.WriteLine($"Policy {view.Hash[..12]}, applied by {view.AppliedBy} at {Date(view.AppliedAt)}, mode {view.Mode}.");
            if (view.Freeze is { Frozen: true } freeze)
                context.Talk.WriteLine($"Frozen until {Date(freeze.Until)} by {freeze.By}: {freeze.Reason}");
            if (view.Rejected is { } rejected)
            {
                context.Talk.WriteLine($"A change of {rejected.File} was refused at {Date(rejected.At)}; the policy above stays in force:");
                foreach (var error in rejected.Errors)
                    context.Talk.WriteLine($"  {Line(error)}");
            }
            return ExitCode.Fine;
        });
    }

    private static Command Apply()
    {
        var file = new Argument<string>("file") { Description = "The policy" };
        var dryRun = new Option<bool>("--dry-run") { Description = "Let the server check it, with its own environment, and change nothing" };
        return new Command("apply", "Put a policy in force on the server; a bad one changes nothing") { file, dryRun }.Does(async context =>
        {
            var name = context.Parse.GetRequiredValue(file);
            var api = context.Api();
            var change = new PolicyChange(Text(Read(name), name), Path.GetFileName(name));
            var client = new PolicyClient(api);
            if (context.Parse.GetValue(dryRun))
            {
                var verdict = await client.ValidateAsync(change, context.Cancel);
                context.Print(verdict, PolicyJson.Default.PolicyVerdict, (_, data) =>
                {
                    foreach (var error in data.Errors)
                        Console.Out.WriteLine(Line(error));
                });
                context.Talk.WriteLine(verdict.Valid ? $"{name} would be put in force on {api.Server}." : $"{name} would be refused by {api.Server}.");
                return verdict.Valid ? ExitCode.Fine : ExitCode.Usage;
            }
            var view = await client.ApplyAsync(change, context.Cancel);
            context.Print(view, PolicyJson.Default.PolicyView, (_, data) => Console.Out.WriteLine($"Policy {data.Hash[..12]} is in force on {api.Server}."));
            return ExitCode.Fine;
        });
    }

    private static (string Name, PolicyBinding Binding) Bind(CliContext context, string? file)
    {
        var name = file ?? Path.GetRelativePath(Environment.CurrentDirectory, PolicyOptions.Find(null));
        var variables = PolicyFile.Environment();
        var set = PolicyBinder.Variables.Select(v => v.Name).Where(n => variables.TryGetValue(n, out var value) && !string.IsNullOrWhiteSpace(value)).ToList();
        if (set.Count > 0)
            context.Talk.WriteLine($"Over the file, from the environment here: {string.Join(", ", set)}.");
        return (name, PolicyFile.Bind(Read(name), name, variables));
    }

    private static byte[] Read(string file)
    {
        try { return File.ReadAllBytes(file); }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException) { throw new CliException(ExitCode.Usage, $"{file} cannot be read: {error.Message}"); }
    }

    private static string Text(byte[] bytes, string file)
    {
        try { return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes); }
        catch (DecoderFallbackException) { throw new CliException(ExitCode.Usage, $"{file} is not UTF-8: save it as UTF-8."); }
    }

    private static void Write(string effective, IReadOnlyList<PolicyValueView> values, bool withSources)
    {
        if (!withSources)
        {
            Console.Out.Write(effective);
            return;
        }
        var path = values.Max(v => v.Path.Length);
        var source = values.Max(v => v.Source.Length);
        foreach (var value in values)
            Console.Out.WriteLine($"{value.Path.PadRight(path)}  {value.Source.PadRight(source)}  {value.Value}");
    }

    private static string Line(PolicyErrorView error) =>
        error.Line == 0 ? $"environment variable {error.File}: {error.Message} {error.Fix}"
        : $"{error.File}:{error.Line}:{error.Column}: {(error.Path.Length == 0 ? "" : error.Path + ": ")}{error.Message} {error.Fix}";

    private static string Date(DateTimeOffset? at) => at is { } when ? when.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) + " UTC" : "?";
}
