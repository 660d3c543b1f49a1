using BuildRunner.Cli;

namespace BuildRunner.Tests.CommandLine;

public class CliUsageTests
{
    [Theory]
    [InlineData("regoins list", "'regoins' is no command of `br`. Did you mean `br regions`?")]
    [InlineData("regions helth --all", "'helth' is no command of `br regions`. Did you mean `br regions health`?")]
    [InlineData("regions health --al", "`br regions health` has no option --al. Did you mean `--all`?")]
    [InlineData("regions health --outptu json", "`br regions health` has no option --outptu. Did you mean `--output`?")]
    [InlineData("regions list --output xml", "'xml' is no value of --output; use table, json, yaml.")]
    [InlineData("regions", "`br regions` needs a command after it: list, health, show, drain, undrain, weight.")]
    public void Explain_WrongUse_SaysWhatWasMeant(string typed, string expected) =>
        Assert.Equal(expected, CliUsage.Explain(CliApp.Build().Parse(typed))[0]);

    [Theory]
    [InlineData("regions health --all")]
    [InlineData("regions health --all --output json --from eu-west-1")]
    [InlineData("regions weight eu-west-1 20% --dry-run")]
    [InlineData("-o yaml regions list")]
    [InlineData("")]
    public void Parse_RightUse_HasNoErrors(string typed) => Assert.Empty(CliApp.Build().Parse(typed).Errors);

    [Fact]
    public void Help_OfEveryCommand_HasADescriptionAndAUsage()
    {
        var commands = new Queue<(System.CommandLine.Command Command, string Path)>([(CliApp.Build(), "br")]);
        while (commands.TryDequeue(out var next))
        {
            using var text = new StringWriter();
            CliHelp.Write(text, next.Command, next.Path);
            Assert.StartsWith($"{next.Command.Description}\n\nUsage: {next.Path}", text.ToString(), StringComparison.Ordinal);
            Assert.False(string.IsNullOrWhiteSpace(next.Command.Description), $"{next.Path} says nothing of itself");
            foreach (var child in next.Command.Subcommands.Where(c => !c.Hidden))
                commands.Enqueue((child, $"{next.Path} {child.Name}"));
        }
    }

    [Fact]
    public void Help_Regions_ShowsLowerCaseValuesAndExamples()
    {
        using var text = new StringWriter();
        CliHelp.Write(text, CliApp.Build().Subcommands.Single(c => c.Name == "regions"), "br regions");

        Assert.Contains("-o, --output table|json|yaml", text.ToString(), StringComparison.Ordinal);
        Assert.Contains("  br regions health --all\n", text.ToString(), StringComparison.Ordinal);
    }
}
