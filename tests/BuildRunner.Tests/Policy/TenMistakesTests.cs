using BuildRunner.Core.Policy;

namespace BuildRunner.Tests.Policy;

[Trait("Category", "unit")]
public class TenMistakesTests
{
    /// <summary>The shipped policy with a mistake of each kind, and what must be said of it.</summary>
    private static readonly (string Kind, string Right, string Wrong, string Path, string Fix)[] Mistakes =
    [
        ("unit", "    p50: 100ms", "    p50: 100MB", "performance_budgets.api.p50", "Write a number and its unit: 400ms"),
        ("misspelt name", "    severity: critical", "    severty: critical", "alerts.budget_burn.severty", "Did you mean `severity`?"),
        ("range", "  fall: 3", "  fall: 3000", "health.fall", "Write a value from 1 to 100."),
        ("duplicate", "    user: app", "    user: app\n    user: owner", "databases.main.user", "Remove the one in line"),
        ("tab", "    port_from: 9201", "\tport_from: 9201", "", "Indent with spaces, two a level."),
        ("missing reference", "    channels: [slack, email]", "    channels: [slack, emial]", "alerts.high_latency.channels[1]", "Did you mean `email`?"),
        ("cron", "  full: \"0 2 * * *\"", "  full: \"0 25 * * *\"", "backups.full", "Write minute, hour"),
        ("region not allowed", "    default_region: \"us-east-1\"\n    allowed_regions: [\"us-east-1\", ", "    default_region: \"us-east-1\"\n    allowed_regions: [", "multiregion_performance_dr.multiregion.default_region", "Allow it there"),
        ("secret in plain", "  slack:\n    type: log", "  slack:\n    type: slack\n    webhook: https://hooks.slack.com/services/T00/B00/xyz", "channels.slack.webhook", "`env:SLACK_WEBHOOK`"),
        ("shorthand against long form", "      api_p95_budget_ms: 400", "      api_p95_budget_ms: 350", "multiregion_performance_dr.performance.budgets.api_p95_budget_ms", "Remove the one in line"),
    ];

    [Fact]
    public void Bind_TenMistakes_AllAreNamedWithLineAndFix()
    {
        var text = Mistakes.Aggregate(Policies.Shipped, (policy, m) => Replace(policy, m.Right, m.Wrong));
        var binding = Policies.Bind(text);

        Assert.Null(binding.Document);
        foreach (var mistake in Mistakes)
            AssertNamed(text, binding.Errors, mistake);
        // The misspelt key leaves its own missing, which is said too; nothing else is.
        Assert.Equal(["`severity` is missing."], binding.Errors.Where(e => !Mistakes.Any(m => e.Path == m.Path)).Select(e => e.Message));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(8)]
    [InlineData(9)]
    public void Bind_OneMistake_OnlyItIsNamed(int index)
    {
        var text = Replace(Policies.Shipped, Mistakes[index].Right, Mistakes[index].Wrong);
        Assert.Single(Policies.Bind(text).Errors);
        AssertNamed(text, Policies.Bind(text).Errors, Mistakes[index]);
    }

    [Fact]
    public void Bind_PlainSecret_IsNotRepeated()
    {
        var text = Replace(Policies.Shipped, Mistakes[8].Right, Mistakes[8].Wrong);
        Assert.DoesNotContain("xyz", string.Join('\n', Policies.Bind(text).Errors), StringComparison.Ordinal);
    }

    [Fact]
    public void Bind_ShorthandAgainstLongForm_NamesBothLines()
    {
        var text = Replace(Policies.Shipped, Mistakes[9].Right, Mistakes[9].Wrong);
        var lines = text.Split('\n').ToList();
        var error = Assert.Single(Policies.Bind(text).Errors);
        Assert.Contains($"line {lines.FindIndex(l => l.Contains("api_p95_budget_ms", StringComparison.Ordinal)) + 1}", error.Fix, StringComparison.Ordinal);
        Assert.Contains($"line {lines.FindIndex(l => l == "    p95: 400ms") + 1}", error.Fix, StringComparison.Ordinal);
    }

    private static void AssertNamed(string text, IReadOnlyList<PolicyError> errors, (string Kind, string Right, string Wrong, string Path, string Fix) mistake)
    {
        var error = errors.SingleOrDefault(e => e.Path == mistake.Path);
        Assert.True(error is not null, $"{mistake.Kind} is not named; what is: {string.Join('\n', errors)}");
        Assert.Contains(mistake.Fix, error.Fix, StringComparison.Ordinal);
        Assert.Contains(Key(mistake), text.Split('\n')[error.At.Line - 1], StringComparison.Ordinal);
        Assert.True(error.At.Column > 0);
    }

    /// <summary>The text that the line named by the error must hold.</summary>
    private static string Key((string Kind, string Right, string Wrong, string Path, string Fix) mistake) => mistake.Kind switch
    {
        "duplicate" => "user: owner",
        "secret in plain" => "webhook:",
        "region not allowed" => "default_region",
        _ => mistake.Wrong.Trim(),
    };

    private static string Replace(string text, string right, string wrong)
    {
        var at = text.IndexOf(right, StringComparison.Ordinal);
        Assert.True(at >= 0, $"The shipped policy has no '{right}'.");
        return text[..at] + wrong + text[(at + right.Length)..];
    }
}
