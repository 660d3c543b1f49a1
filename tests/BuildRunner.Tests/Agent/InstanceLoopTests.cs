using BuildRunner.Server.Agent.Instances;

namespace BuildRunner.Tests.Agent;

[Trait("Category", "unit")]
public sealed class InstanceLoopTests
{
    [Theory]
    [InlineData(false, false, 0, true)] // an edge: there is nothing to wait for
    [InlineData(true, false, 0, false)]
    [InlineData(true, true, 0, true)]
    [InlineData(true, false, -1, false)] // just before the limit
    [InlineData(true, false, 1, true)] // a database that does not come keeps nobody for good
    public void MayStart_WaitsForTheFirstAnswer(bool hasDatabase, bool hasAnswered, int aroundLimit, bool may)
    {
        var since = aroundLimit == 0 ? TimeSpan.Zero : InstanceLoop.DatabaseFirstMax + (aroundLimit < 0 ? TimeSpan.FromTicks(-1) : TimeSpan.Zero);
        Assert.Equal(may, InstanceLoop.MayStart(hasDatabase, hasAnswered, since));
    }
}
