namespace BuildRunner.Cli;

/// <summary>Steps under one title, as people see them: the titles before traffic resumes are numbered, what only settles afterwards is one last group.</summary>
internal sealed record RunSteps<T>(int? Number, string Title, IReadOnlyList<T> Steps)
{
    private const string Settling = "Afterwards, while traffic flows";

    public string Heading => Number is { } number ? string.Create(CultureInfo.InvariantCulture, $"{number}. {Title}") : $"   {Title}";

    public static IReadOnlyList<RunSteps<T>> Of(IEnumerable<T> steps, Func<T, string> title, Func<T, bool> afterResume)
    {
        var groups = new List<(string Title, bool After, List<T> Steps)>();
        foreach (var step in steps)
        {
            var after = afterResume(step);
            var name = after ? Settling : title(step);
            if (groups.Count == 0 || groups[^1].Title != name || groups[^1].After != after)
                groups.Add((name, after, []));
            groups[^1].Steps.Add(step);
        }
        return [.. groups.Select((group, i) => new RunSteps<T>(group.After ? null : i + 1, group.Title, group.Steps))];
    }
}
