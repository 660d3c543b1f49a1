using System.Net.Sockets;
using BuildRunner.Server.Agent;
using Microsoft.Extensions.Time.Testing;
using Npgsql;

namespace BuildRunner.Tests.Agent;

public class ErrorClauseTests
{
    [Fact]
    public void Of_PostgresError_IsItsMessageAlone()
    {
        var error = new PostgresException("the database system is starting up", "FATAL", "FATAL", "57P03", detail: "secret");
        Assert.Contains("DETAIL", error.Message, StringComparison.Ordinal); // what must not get through
        Assert.Equal("the database system is starting up", ErrorClause.Of(error));
    }

    [Fact]
    public void Of_NoConnection_SaysWhy() =>
        Assert.Equal("Failed to connect to 127.0.0.1:5433 (connection refused)", ErrorClause.Of(new NpgsqlException("Failed to connect to 127.0.0.1:5433", new SocketException((int)SocketError.ConnectionRefused))));

    [Fact]
    public void Of_SeveralLines_IsTheFirst() => Assert.Equal("one", ErrorClause.Of(new InvalidOperationException("one.\ntwo")));

    [Fact]
    public void Lets_TheSameAgain_OnceInHalfAMinute()
    {
        var time = new FakeTimeProvider();
        var damper = new Damper(time);
        Assert.True(damper.Lets("a"));
        time.Advance(TimeSpan.FromSeconds(29));
        Assert.False(damper.Lets("a"));
        Assert.True(damper.Lets("b"));
        time.Advance(TimeSpan.FromSeconds(30));
        Assert.True(damper.Lets("b"));
    }
}
