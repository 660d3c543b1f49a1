using BuildRunner.Tests.Support;

namespace BuildRunner.Bench;

/// <summary>The load balancer's configuration, as Patroni ships it.</summary>
internal static class HaproxyFile
{
    public static string Text(string listen, IEnumerable<PatroniMember> members, PatroniSettings settings) => $"""
        global
            maxconn 1000

        defaults
            mode tcp
            retries 2
            timeout client 30m
            timeout connect 4s
            timeout server 30m
            timeout check 5s

        listen primary
            bind {listen}
            option httpchk OPTIONS /primary
            http-check expect status 200
            default-server {settings.Check} on-marked-down shutdown-sessions
        {string.Join('\n', members.Select(m => $"    server {m.Name} {m.Host}:{m.Postgres} maxconn 100 check port {m.Rest}"))}

        """;
}
