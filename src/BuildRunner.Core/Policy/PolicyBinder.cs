namespace BuildRunner.Core.Policy;

/// <summary>From what was written, and the environment, to a policy in force, or to all that is wrong with it.</summary>
public static class PolicyBinder
{
    /// <param name="root">What was written; null: nothing could be read, and <paramref name="earlier"/> says why.</param>
    /// <param name="earlier">Errors of reading the text: reported with those of its meaning.</param>
    /// <param name="variables">Environment variables; names that are not ours are passed over.</param>
    /// <param name="cronWrong">Says what is wrong with a cron expression; null: nothing.</param>
    public static PolicyBinding Bind(PolicyNode? root, IReadOnlyList<PolicyError> earlier, IReadOnlyDictionary<string, string> variables, Func<string, string?> cronWrong)
    {
        var reading = new PolicyReading(cronWrong);
        var document = new PolicyDocument { Databases = PolicyDefaults.Databases, Performance = new() { Budgets = PolicyDefaults.Budgets } };
        if (root is not null)
        {
            reading.Place(PolicyPath.Root, root.At);
            document = PolicySchema.Root.Read(document, root, PolicyPath.Root, reading, root.At);
        }
        document = reading.ApplyLater(document);
        document = PolicyVariables.Apply(document, variables, reading);
        document = PolicyChecks.Settle(document, reading);
        if (root is not null)
            PolicyChecks.Check(document, reading);

        // A line that could not be read has been reported; what its absence leads to says nothing new.
        var unread = earlier.Select(e => e.At.Line).ToHashSet();
        var errors = earlier.Concat(reading.Errors.Where(e => e.At.IsVariable || !unread.Contains(e.At.Line) || Independent(e, earlier)))
            .OrderBy(e => e.At.IsVariable).ThenBy(e => e.At.Line).ThenBy(e => e.At.Column).Distinct().ToList();
        return errors.Count > 0 ? new() { Errors = errors } : new() { Document = document, Values = Values(document, reading) };
    }

    /// <summary>The policy as a file that binds to the same policy again.</summary>
    public static string Render(PolicyDocument document) => PolicyYaml.Write(PolicySchema.Root.Write(document));

    /// <summary>Every key, for the reference page.</summary>
    public static IReadOnlyList<PolicyKeyRow> Keys { get; } = [.. PolicySchema.Root.Describe("", new())];

    /// <summary>Every environment variable: its name, its form, and the key it overrides.</summary>
    public static IReadOnlyList<(string Name, string Form, string Key)> Variables { get; } = [.. PolicyVariables.All.Select(v => (v.Name, v.Words, v.Path))];

    /// <summary>True when the line's earlier error (a tab, a duplicate) left its value readable.</summary>
    private static bool Independent(PolicyError error, IReadOnlyList<PolicyError> earlier) => earlier.All(e => e.At.Line != error.At.Line || e.Path.Length > 0 || e.At.Column == 1);

    private static List<PolicyValue> Values(PolicyDocument document, PolicyReading reading)
    {
        var values = new List<PolicyValue>();
        Flatten(PolicySchema.Root.Write(document), "", values, reading);
        return values;
    }

    private static void Flatten(PolicyNode node, string path, List<PolicyValue> values, PolicyReading reading)
    {
        switch (node)
        {
            case PolicyNode.Mapping { Entries.Count: > 0 } mapping:
                foreach (var entry in mapping.Entries)
                    Flatten(entry.Value, path.Length == 0 ? entry.Key : $"{path}.{entry.Key}", values, reading);
                break;
            case PolicyNode.Sequence { Items: [PolicyNode.Mapping, ..] items }:
                for (var i = 0; i < items.Count; i++)
                    Flatten(items[i], $"{path}[{i}]", values, reading);
                break;
            default:
                values.Add(new(path, PolicyYaml.Flat(node), reading.SourceOf(path).Source));
                break;
        }
    }
}
