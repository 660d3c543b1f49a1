using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;

namespace BuildRunner.Tests.Support;

/// <summary>An address file in a temporary folder, written as an agent writes it: whole, then renamed.</summary>
public sealed class TestAddress : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("br-address-").FullName;

    public string Path => System.IO.Path.Combine(_folder, "address.json");

    public static AddressFile At(PostgresServer? write, PostgresServer? read, long epoch, string databaseName, string region = "us-east-1", string? writeRegion = null) => new()
    {
        Region = region,
        Database = "shop",
        Epoch = epoch,
        Open = write is not null,
        WriteHost = write?.Host,
        WritePort = write?.Port ?? 0,
        WriteRegion = write is null ? null : writeRegion ?? region,
        ReadHost = read?.Host,
        ReadPort = read?.Port ?? 0,
        DatabaseName = databaseName,
        User = "postgres",
        PasswordFile = "",
    };

    public void Write(AddressFile address)
    {
        var next = Path + ".new";
        File.WriteAllBytes(next, JsonSerializer.SerializeToUtf8Bytes(address, WireJson.Default.AddressFile));
        File.Move(next, Path, overwrite: true);
    }

    /// <summary>What an agent does to a database before applications may write: the schema and the first marker.</summary>
    public static Task MarkAsync(PostgresServer server, string database, long epoch) => server.ExecuteAsync(
        $"""
        CREATE SCHEMA IF NOT EXISTS buildrunner;
        CREATE TABLE IF NOT EXISTS buildrunner.epoch (epoch bigint PRIMARY KEY, run text, at timestamptz NOT NULL DEFAULT now());
        INSERT INTO buildrunner.epoch (epoch, run) VALUES ({epoch}, 'test') ON CONFLICT DO NOTHING;
        """, database);

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
