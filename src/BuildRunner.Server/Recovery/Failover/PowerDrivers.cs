using System.Net.Sockets;
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
    private const int EvidenceMax = 500;
    private static readonly TimeSpan CommandMax = TimeSpan.FromSeconds(60);

    public bool Ready => IsReady(policy.Current.Recovery);

    public static bool IsReady(Core.Policy.RecoveryRules rules) => rules switch
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

    /// <summary>Exit code 0 means off, for certain; what the command prints is the evidence. One that was ended, or said more than anybody reads, proves nothing.</summary>
    private static async Task<PowerOff> ExecAsync(IReadOnlyList<string> command, string region, CancellationToken cancel)
    {
        var ran = await BoundedCommand.RunAsync(command, [], CommandMax, cancel);
        var text = $"{ran.Output.Trim()} {ran.Error.Trim()}".Trim();
        var off = ran is { ExitCode: 0, Ended: null };
        return new PowerOff
        {
            Region = region,
            Off = off,
            Effect = off,
            Evidence = $"{command[0]} {ran.Ended ?? string.Create(CultureInfo.InvariantCulture, $"ended with {ran.ExitCode}")}{(text.Length > 0 ? $": {text[..Math.Min(text.Length, EvidenceMax)]}" : "")}",
        };
    }
}
