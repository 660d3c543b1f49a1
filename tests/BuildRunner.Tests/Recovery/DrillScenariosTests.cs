using System.Text;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Policy;
using BuildRunner.Server.Recovery.Drills;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Recovery;

/// <summary>Scenarios as people write them: YAML beside the policy.</summary>
public sealed class DrillScenariosTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Shipped_AtLeastTwo_OneOfEachExpectation()
    {
        Assert.True(DrillScenarios.Shipped.Count >= 2);
        Assert.Equal(Enum.GetValues<DrillExpectation>(), DrillScenarios.Shipped.Select(s => s.Expect).Distinct().Order());
    }

    [Fact]
    public void Bind_GoodText_Fills()
    {
        var scenario = Bind("name: x\ntitle: X\nexpect: endure\nfaults:\n  - {kind: fill_disk, region: eu-west-1, after: 3s, duration: 20s}\n").Scenario!;
        Assert.Equal(new DrillFault(FaultKind.FillDisk, "eu-west-1", null, TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(20)), Assert.Single(scenario.Faults));
        Assert.Equal(DrillExpectation.Endure, scenario.Expect);
    }

    [Theory]
    [InlineData("name: x\ntitle: X\n", "1 to 8 faults")]
    [InlineData("name: x\ntitle: X\nfaults:\n  - {kind: freze, region: a}\n", "freeze")]
    [InlineData("name: x\ntitle: X\nfaults:\n  - {kind: kill, region: a, part: guard}\n", "takes no part")]
    [InlineData("name: x\ntitle: X\nfaults:\n  - {kind: kill, region: a, duration: 20m}\n", "15m")]
    [InlineData("name: x\nfaults:\n  - {kind: kill, region: a}\n", "`title` is missing")]
    public void Bind_BadText_SaysWhereAndWhat(string text, string says)
    {
        var binding = Bind(text);
        Assert.Null(binding.Scenario);
        Assert.Contains(says, string.Join(" ", binding.Errors), StringComparison.Ordinal);
    }

    [Fact]
    public void Find_AFileBesideThePolicy_ComesBeforeTheShippedOne_AndABadOneIsSaid()
    {
        Directory.CreateDirectory(_folder.File("scenarios"));
        File.WriteAllText(_folder.File("scenarios/mine.yml"), "name: standby-cut-off\ntitle: Mine\nfaults:\n  - {kind: kill, region: primary}\n");
        File.WriteAllText(_folder.File("scenarios/bad.yml"), "name: bad\n");
        var scenarios = new DrillScenarios(PolicyOptions.FromEnvironment(_folder.File("policy.yml")));
        Assert.Equal("Mine", scenarios.Find("standby-cut-off").Scenario?.Title);
        Assert.Equal(DrillScenarios.Shipped.Count, scenarios.List().Scenarios.Count);
        var (none, why) = scenarios.Find("standby-cutoff");
        Assert.Null(none);
        Assert.Contains("standby-cut-off", why, StringComparison.Ordinal);
        Assert.Contains("bad.yml", why, StringComparison.Ordinal);
    }

    private static DrillScenarioBinding Bind(string text) => DrillScenarios.Bind(Encoding.UTF8.GetBytes(text), "x.yml");
}
