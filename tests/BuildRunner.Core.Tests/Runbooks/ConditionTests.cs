using BuildRunner.Core.Runbooks;
using CsCheck;

namespace BuildRunner.Core.Tests.Runbooks;

public class ConditionTests
{
    private static readonly Dictionary<string, string> Inputs = new() { ["a"] = "x", ["empty"] = "", ["n"] = "5" };
    private static readonly Dictionary<string, string> Outputs = new() { ["s.out"] = "x" };

    [Theory]
    [InlineData("${a} == 'x'", true)]
    [InlineData("${a} == \"x\"", true)]
    [InlineData("${a}=='y'", false)]
    [InlineData("${a} != 'y'", true)]
    [InlineData("${n} == 5", true)]
    [InlineData("${a} == ${s.out}", true)]
    [InlineData("${a}", true)]
    [InlineData("${empty}", false)]
    [InlineData("!${empty}", true)]
    [InlineData("!!${a}", true)]
    [InlineData("${unknown}", false)]
    [InlineData("${unknown.out} == ''", true)]
    [InlineData("${a} == 'x' && ${empty} || ${n} != 6", true)]
    [InlineData("${a} == 'x' && (${empty} || ${n} == 6)", false)]
    [InlineData("!(${a} == 'x' && ${n} == 5)", false)]
    [InlineData("${empty} || ${empty} || ${a}", true)]
    public void Holds_Expression_IsRead(string text, bool holds)
    {
        Assert.Null(Condition.Wrong(text));
        Assert.Equal(holds, Condition.Holds(text, Inputs, Outputs));
    }

    [Theory]
    [InlineData("", "ends too early")]
    [InlineData("${a} ==", "ends too early")]
    [InlineData("${a", "'}' is missing")]
    [InlineData("(${a}", "')' is missing")]
    [InlineData("${a} = 'x'", "'=' is not expected")]
    [InlineData("${a} && || ${a}", "'|' is not expected")]
    [InlineData("'x", "quote is not closed")]
    [InlineData("${a} ${a}", "'$' is not expected")]
    [InlineData("${}", "'' is no name")]
    [InlineData("$(rm -rf /)", "'$' is not expected")]
    public void Wrong_NoCondition_SaysWhat(string text, string said)
    {
        Assert.Contains(said, Condition.Wrong(text), StringComparison.Ordinal);
        Assert.Throws<FormatException>(() => Condition.Holds(text, Inputs, Outputs));
    }

    [Fact]
    public void Wrong_TooDeepOrTooLong_IsRefusedAndNotFollowed()
    {
        Assert.Contains("too deep", Condition.Wrong(new string('(', 200)), StringComparison.Ordinal);
        Assert.Contains("longer", Condition.Wrong(new string('!', 501)), StringComparison.Ordinal);
    }

    [Fact]
    public void Wrong_AnyText_NeverThrows() => Gen.Char["${}'\"()!=&|abc. "].Array[0, 30].Select(c => new string(c)).Sample(text =>
    {
        if (Condition.Wrong(text) is null)
            Condition.Holds(text, Inputs, Outputs);
    }, iter: 20_000);
}
