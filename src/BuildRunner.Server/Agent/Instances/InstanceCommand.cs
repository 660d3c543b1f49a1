using BuildRunner.Client.Databases;

namespace BuildRunner.Server.Agent.Instances;

/// <summary>One instance that should run: what to start, with what, where it listens.</summary>
internal sealed record InstanceCommand
{
    public required string Id { get; init; }
    public required int Port { get; init; }
    public required string Program { get; init; }
    public required IReadOnlyList<string> Arguments { get; init; }
    public required IReadOnlyDictionary<string, string> Environment { get; init; }
    public required ServiceAssignment Service { get; init; }

    /// <summary>All instances that an assignment's services ask for on this host.</summary>
    public static IEnumerable<InstanceCommand> All(IReadOnlyList<ServiceAssignment> services, AgentOptions options, string addressFile)
    {
        foreach (var service in services)
        {
            if (service.Command.Count == 0)
                continue;
            for (var i = 0; i < service.Count; i++)
                yield return One(service, i, options, addressFile);
        }
    }

    private static InstanceCommand One(ServiceAssignment service, int index, AgentOptions options, string addressFile)
    {
        var id = string.Create(CultureInfo.InvariantCulture, $"{service.Service}-{index + 1}");
        var port = service.PortFrom + index;
        string Fill(string text) => text
            .Replace("{port}", port.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)
            .Replace("{host}", options.Host, StringComparison.Ordinal)
            .Replace("{region}", options.Region, StringComparison.Ordinal)
            .Replace("{instance}", id, StringComparison.Ordinal)
            .Replace("{version}", service.Version, StringComparison.Ordinal)
            .Replace("{service}", service.Service, StringComparison.Ordinal)
            .Replace("{address_file}", addressFile, StringComparison.Ordinal);
        var program = Fill(service.Command[0]);
        var beside = Path.Combine(AppContext.BaseDirectory, program);
        return new()
        {
            Id = id,
            Port = port,
            Program = !program.Contains('/') && File.Exists(beside) ? beside : program,
            Arguments = [.. service.Command.Skip(1).Select(Fill)],
            Environment = service.Environment.ToDictionary(pair => pair.Key, pair => Fill(pair.Value)),
            Service = service,
        };
    }

    /// <summary>Whether a running instance of that command may stay for this one.</summary>
    public bool IsSame(InstanceCommand other) =>
        Program == other.Program && Port == other.Port && Arguments.SequenceEqual(other.Arguments)
        && Environment.Count == other.Environment.Count && Environment.All(pair => other.Environment.TryGetValue(pair.Key, out var value) && value == pair.Value);
}
