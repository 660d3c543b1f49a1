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

    /// <summary>The options of a server: the file named, else BR_POLICY, else `governance/policy.yml` here or in a folder above; and BR_PORT_OFFSET.</summary>
    public static PolicyOptions FromEnvironment(string? file) => new() { File = Find(file), PortOffset = Offset(Environment.GetEnvironmentVariable("BR_PORT_OFFSET")) };

    public static string Find(string? file)
    {
        if (!string.IsNullOrWhiteSpace(file))
            return Path.GetFullPath(file);
        if (Environment.GetEnvironmentVariable("BR_POLICY") is { Length: > 0 } named)
            return Path.GetFullPath(named);
        foreach (var start in new[] { Environment.CurrentDirectory, AppContext.BaseDirectory })
        {
            for (var at = new DirectoryInfo(start); at is not null; at = at.Parent)
            {
                var path = Path.Combine(at.FullName, "governance", "policy.yml");
                if (System.IO.File.Exists(path))
                    return path;
            }
        }
        return Path.GetFullPath(Path.Combine("governance", "policy.yml"));
    }

    private static int Offset(string? text) =>
        string.IsNullOrWhiteSpace(text) ? 0
        : int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && number is > -60000 and < 60000 ? number
        : throw new PolicyRefusedException("(environment)", [new(Core.Policy.PolicyPosition.Variable("BR_PORT_OFFSET"), "", $"'{text}' is no whole number.", "Write one, such as 1000.")]);
}
