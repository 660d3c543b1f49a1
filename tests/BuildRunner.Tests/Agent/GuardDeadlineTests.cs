using BuildRunner.Core.Databases;
using BuildRunner.Server.Guard;

namespace BuildRunner.Tests.Agent;

/// <summary>A deadline that grows, is lifted, comes again, and is final once it is reached.</summary>
public class GuardDeadlineTests
{
    private long _now = 1000;

    [Fact]
    public void Extend_OnlyGrows()
    {
        var deadline = Make();
        Assert.Equal((2000, 2000, 3000), (deadline.Extend(2000), deadline.Extend(1500), deadline.Extend(3000)));
    }

    [Fact]
    public void Extend_AfterItWasLifted_IsTheFirstAgain()
    {
        var deadline = Make();
        deadline.Extend(2000);
        Assert.Equal(GateName.NoDeadline, deadline.Extend(GateName.NoDeadline));
        Assert.Equal(1800, deadline.Extend(1800));
    }

    [Fact]
    public void Extend_AfterItWasReached_ChangesNothing()
    {
        var deadline = Make();
        deadline.Extend(2000);
        _now = 2000;
        Assert.Equal(2000, deadline.Extend(9000));
    }

    private GuardDeadline Make() => new(() => { }, () => Volatile.Read(ref _now));
}
