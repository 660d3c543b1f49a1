namespace BuildRunner.Server.Policy;

/// <summary>What the server needs to know about its policy before it starts.</summary>
public sealed class PolicyOptions
{
    /// <summary>The server's policy file: an input to the applied policy, picked up when it changes.</summary>
    public required string File { get; init; }

    /// <summary>Environment that overrides the policy. Default: this process's.</summary>
    public IReadOnlyDictionary<string, string>? Variables { get; init; }

    /// <summary>Added to every port of the policy (BR_PORT_OFFSET). Default: 0.</summary>
    public int PortOffset { get; init; }

    /// <summary>The options of a server, with BR_PORT_OFFSET taken from its environment.</summary>
    public static PolicyOptions FromEnvironment(string file)
    {
        var offset = Environment.GetEnvironmentVariable("BR_PORT_OFFSET");
        return new()
        {
            File = file,
            PortOffset = string.IsNullOrWhiteSpace(offset) ? 0
                : int.TryParse(offset, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && number is > -60000 and < 60000 ? number
                : throw new ArgumentException($"BR_PORT_OFFSET is '{offset}': write a whole number, such as 1000."),
        };
    }
}
