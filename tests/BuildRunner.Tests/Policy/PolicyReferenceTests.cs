using System.Text;
using BuildRunner.Core.Policy;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Policy;

/// <summary>The reference page is made from the schema; this keeps it so. `BR_WRITE_DOCS=1` writes it anew.</summary>
[Trait("Category", "unit")]
public class PolicyReferenceTests
{
    private const string Begin = "<!-- keys: made from the schema -->\n";
    private static readonly string Page = Path.Combine(Repository.Root, "docs", "reference", "policy.md");

    [Fact]
    public void Page_IsCurrent()
    {
        var text = File.ReadAllText(Page);
        var cut = text.IndexOf(Begin, StringComparison.Ordinal);
        Assert.True(cut > 0, $"{Page} has lost the line {Begin.Trim()}");
        var current = text[..(cut + Begin.Length)] + Tables();
        if (Environment.GetEnvironmentVariable("BR_WRITE_DOCS") == "1")
            File.WriteAllText(Page, current);
        else
            Assert.Equal(current, text);
    }

    [Fact]
    public void Keys_EachHasASummary() => Assert.DoesNotContain(PolicyBinder.Keys, k => k.Summary.Length < 5);

    private static string Tables()
    {
        var text = new StringBuilder("\n| key | form | default | meaning |\n|---|---|---|---|\n");
        foreach (var key in PolicyBinder.Keys)
            text.Append(CultureInfo.InvariantCulture, $"| `{key.Path}` | {Cell(key.Form)} | {(key.Required ? "**required**" : key.Default.StartsWith("shorthand", StringComparison.Ordinal) ? Cell(key.Default) : key.Default.Length == 0 ? "" : $"`{Cell(key.Default)}`")} | {Cell(key.Summary)} |\n");
        text.Append("\n## Environment variables\n\n| variable | form | overrides |\n|---|---|---|\n");
        foreach (var (name, form, key) in PolicyBinder.Variables)
            text.Append(CultureInfo.InvariantCulture, $"| `{name}` | {form} | `{key}` |\n");
        return text.ToString();
    }

    private static string Cell(string text) => text.Replace("|", "\\|", StringComparison.Ordinal);
}
