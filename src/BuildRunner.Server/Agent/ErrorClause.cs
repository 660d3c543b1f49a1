using System.Net.Sockets;
using Npgsql;

namespace BuildRunner.Server.Agent;

/// <summary>An error as one clause for people: no second line, no DETAIL, no advice to programmers.</summary>
internal static class ErrorClause
{
    public static string Of(Exception error) => error switch
    {
        PostgresException postgres => OneLine(postgres.MessageText),
        NpgsqlException { InnerException: SocketException inner } => $"{OneLine(error.Message)} ({inner.Message.ToLowerInvariant()})",
        NpgsqlException { InnerException: TimeoutException } => $"{OneLine(error.Message)} (no answer in time)",
        _ => OneLine(error.Message),
    };

    /// <summary>The first line of what a program said.</summary>
    public static string Of(string talk) => OneLine(talk);

    private static string OneLine(string message)
    {
        var end = message.IndexOfAny(['\r', '\n']);
        return (end < 0 ? message : message[..end]).Trim().TrimEnd('.');
    }
}

/// <summary>Lets a repeated message through once, and again only when it changed or half a minute has passed.</summary>
internal sealed class Damper(TimeProvider time)
{
    private static readonly TimeSpan Again = TimeSpan.FromSeconds(30);
    private string? _last;
    private long _at;

    public bool Lets(string message)
    {
        if (message == _last && time.GetElapsedTime(_at) < Again)
            return false;
        (_last, _at) = (message, time.GetTimestamp());
        return true;
    }

    /// <summary>It is over: the next one is news.</summary>
    public void Reset() => _last = null;
}
