namespace BuildRunner.Core.Tests;

public class SmokeTests
{
    [Fact]
    public void Runner_Runs() => Assert.True(true);
}
