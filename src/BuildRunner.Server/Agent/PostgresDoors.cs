namespace BuildRunner.Server.Agent;

/// <summary>Where this host's PostgreSQL is reached besides the agent's own socket: an adopted one goes on to be reached as it was.</summary>
/// <param name="Listen">Value of `listen_addresses`.</param>
/// <param name="Folders">Folders of further sockets, such as /var/run/postgresql.</param>
internal sealed record PostgresDoors(string Listen, IReadOnlyList<string> Folders)
{
    public static PostgresDoors Of(AgentOptions options, AgentState state) =>
        state.Adoption is { } adopted ? new(adopted.Listen, adopted.Sockets) : new(options.Host, []);

    /// <summary>Value of `unix_socket_directories`: a folder that a restart of the machine took away must not keep PostgreSQL down.</summary>
    public string Sockets(string permitFolder) => string.Join(',', Folders.Where(Directory.Exists).Prepend(permitFolder));
}
