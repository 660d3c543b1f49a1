namespace BuildRunner.Tests.Support;

/// <summary>A member's configuration, as Patroni's documentation and its shipped examples have it.</summary>
internal static class PatroniFiles
{
    /// <summary>`etcd`: `HOST:PORT`; `programs`: folder of PostgreSQL's; `standbyOf`: a flow mapping of YAML when it begins as a standby cluster.</summary>
    public static string Patroni(PatroniMember member, string scope, PatroniTimes times, string etcd, string programs, string password, string? standbyOf = null) => $"""
        scope: {scope}
        name: {member.Name}
        restapi:
          listen: {member.Host}:{member.Rest}
          connect_address: {member.Host}:{member.Rest}
        etcd3:
          host: {etcd}
        bootstrap:
          dcs:
            ttl: {times.Ttl}
            loop_wait: {times.LoopWait}
            retry_timeout: {times.RetryTimeout}
            maximum_lag_on_failover: 1048576
            standby_cluster: {standbyOf ?? "null"}
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
}

/// <summary>Seconds, by the names of Patroni's documentation.</summary>
internal sealed record PatroniTimes(int Ttl, int LoopWait, int RetryTimeout);
