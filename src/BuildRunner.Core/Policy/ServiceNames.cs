namespace BuildRunner.Core.Policy;

/// <summary>Service names are free; two have a second spelling that means the same.</summary>
public static class ServiceNames
{
    /// <summary>`database` is `db`, `workers` is `worker`; every other name is itself.</summary>
    public static string Canonical(string name) => name switch
    {
        "database" => "db",
        "workers" => "worker",
        _ => name,
    };
}
