using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Serialization;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Recovery.Failover;

/// <summary>Turns a region off and says what it saw: the worth of the proof `powered_off` is the driver's.</summary>
internal interface IPowerDriver
{
    /// <summary>True when a driver is set up and seems usable from here.</summary>
    bool Ready { get; }

    /// <summary>Repeatable. Throws when the driver fails; <see cref="PowerOff.Off"/> is true only when it is certain.</summary>
    Task<PowerOff> OffAsync(string region, CancellationToken cancel);
}

/// <summary>A power driver's answer; the supervisor of `br dev` answers in this form.</summary>
internal sealed record PowerOff
{
    public required string Region { get; init; }
    public required bool Off { get; init; }
    public bool Effect { get; init; }

    /// <summary>How many processes it ended; zero: none was left alive; null: the driver cannot tell.</summary>
    public int? Killed { get; init; }
    public string Evidence { get; init; } = "";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(PowerOff))]
internal sealed partial class PowerJson : JsonSerializerContext;

/// <summary>The driver that the policy in force names: `none`, `supervisor`, `exec`.</summary>
internal sealed class PolicyPowerDriver(IPolicySource policy) : IPowerDriver
{
    public bool Ready => policy.Current.Recovery switch
    {
        { PowerDriver: "supervisor" } => File.Exists(Socket),
        { PowerDriver: "exec", PowerCommand.Count: > 0 } => true,
        _ => false,
    };

    public Task<PowerOff> OffAsync(string region, CancellationToken cancel) => policy.Current.Recovery.PowerDriver switch
    {
        "supervisor" => SupervisorAsync(region, cancel),
        "exec" => ExecAsync([.. policy.Current.Recovery.PowerCommand.Select(part => part.Replace("{region}", region, StringComparison.Ordinal))], region, cancel),
        var none => throw new InvalidOperationException($"The power driver is '{none}': it turns nothing off."),
    };

    private static string? Socket => Environment.GetEnvironmentVariable(UnixHttp.SupervisorVariable);

    private static async Task<PowerOff> SupervisorAsync(string region, CancellationToken cancel)
    {
        var path = Socket ?? throw new InvalidOperationException($"{UnixHttp.SupervisorVariable} names no socket.");
        using var http = UnixHttp.Open(path, TimeSpan.FromSeconds(100));
        using var answer = await http.PostAsync(new Uri($"/v1/power/{region}/off", UriKind.Relative), null, cancel);
        var text = await answer.Content.ReadAsStringAsync(cancel);
        if (!answer.IsSuccessStatusCode)
            throw new InvalidOperationException($"The supervisor answered {(int)answer.StatusCode}: {text}");
        return JsonSerializer.Deserialize(text, PowerJson.Default.PowerOff) ?? throw new JsonException("The supervisor answered null.");
    }

    /// <summary>Exit code 0 means off, for certain; what the command prints is the evidence.</summary>
    private static async Task<PowerOff> ExecAsync(IReadOnlyList<string> command, string region, CancellationToken cancel)
    {
        var start = new ProcessStartInfo(command[0]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in command.Skip(1))
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start) ?? throw new InvalidOperationException($"{command[0]} did not start.");
        try
        {
            var said = process.StandardOutput.ReadToEndAsync(cancel);
            var wrong = process.StandardError.ReadToEndAsync(cancel);
            await process.WaitForExitAsync(cancel);
            var text = $"{(await said).Trim()} {(await wrong).Trim()}".Trim();
            return new PowerOff { Region = region, Off = process.ExitCode == 0, Effect = process.ExitCode == 0, Evidence = $"{command[0]} ended with {process.ExitCode}{(text.Length > 0 ? $": {text[..Math.Min(text.Length, 500)]}" : "")}" };
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
