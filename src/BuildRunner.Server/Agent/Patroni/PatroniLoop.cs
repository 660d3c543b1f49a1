using BuildRunner.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Agent.Patroni;

/// <summary>Reads this region's Patroni cluster twice a second and brings it nearer to the assignment, a step a pass.</summary>
internal sealed class PatroniLoop : ReconcileLoop
{
    private readonly PatroniDatabase _database;

    public PatroniLoop(PatroniDatabase database, AssignmentBook book, TimeProvider time, ILogger<PatroniLoop> logger)
        : base(TimeSpan.FromMilliseconds(500), time, logger)
    {
        _database = database;
        book.Changed += Wake;
        database.Changed += Wake;
    }

    public override Task RunOnceAsync(CancellationToken cancel) => _database.ReconcileAsync(cancel);
}
