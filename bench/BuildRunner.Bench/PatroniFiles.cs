namespace BuildRunner.Bench;

/// <summary>The configuration files of the peer, as its documentation and its shipped examples have them.</summary>
internal static class PatroniFiles
{
    public static string Patroni(PatroniMember member, PatroniSettings settings, string etcd, string programs, string password) => $"""
        scope: bench
        name: {member.Name}
        restapi:
          listen: {member.Host}:{member.Rest}
          connect_address: {member.Host}:{member.Rest}
        etcd3:
          host: {etcd}
        bootstrap:
          dcs:
            ttl: {settings.Ttl}
            loop_wait: {settings.LoopWait}
            retry_timeout: {settings.RetryTimeout}
            maximum_lag_on_failover: 1048576
            postgresql:
              use_pg_rewind: true
              use_slots: true
              parameters:
                max_connections: 200
          initdb:
          - encoding: UTF8
          - data-checksums
          pg_hba:
          - host replication replicator 127.0.0.0/8 scram-sha-256
          - host all all 127.0.0.0/8 scram-sha-256
        postgresql:
          listen: {member.Host}:{member.Postgres}
          connect_address: {member.Host}:{member.Postgres}
          data_dir: {member.Data}
          bin_dir: {programs}
          pgpass: {member.Folder}/pgpass
          basebackup:
          - checkpoint: fast
          authentication:
            replication:
              username: replicator
              password: {password}
            superuser:
              username: postgres
              password: {password}
            rewind:
              username: rewind_user
              password: {password}
          parameters:
            unix_socket_directories: '{member.Folder}'
            password_encryption: scram-sha-256

        """;

    public static string Haproxy(string listen, IEnumerable<PatroniMember> members, PatroniSettings settings) => $"""
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
