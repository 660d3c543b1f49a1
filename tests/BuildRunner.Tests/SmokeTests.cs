namespace BuildRunner.Tests;

public class SmokeTests
{
    [Fact, Trait("Category", "unit")]
    public void Runner_Runs() => Assert.True(true);
}
