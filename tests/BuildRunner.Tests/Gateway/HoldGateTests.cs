using BuildRunner.Client.Routing;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Gateway;

namespace BuildRunner.Tests.Gateway;

[Trait("Category", "unit")]
public sealed class HoldGateTests : IDisposable
{
    private const int Moves = 20_000;
    private readonly string _folder = Directory.CreateTempSubdirectory("br-hold-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>A write that comes just as the hold ends goes; it was once answered 503, as if its time were up.</summary>
    [Fact(Timeout = 60_000)]
    public async Task Wait_HoldEndsMeanwhile_IsNeverTakenForOneThatRanOut()
    {
        using var table = new GatewayTable(_folder, TimeProvider.System);
        var gate = new HoldGate(table, TimeProvider.System);
        var over = false;
        Apply(0, null);
        var writers = Enumerable.Range(0, 3).Select(_ => Task.Run(async () =>
        {
            var ends = new HashSet<HoldEnd>();
            while (!Volatile.Read(ref over))
            {
                if (table.State!.View.Database("main")!.HoldId is { } hold)
                    ends.Add(await gate.WaitAsync("main", hold, 10, TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken));
            }
            return ends;
        })).ToList();
        for (var move = 1; move <= Moves; move++)
        {
            Apply(2 * move, "run");
            Apply((2 * move) + 1, null);
        }
        Volatile.Write(ref over, true);
        Assert.DoesNotContain(HoldEnd.Expired, (await Task.WhenAll(writers)).SelectMany(e => e));

        void Apply(long version, string? hold) => table.Apply(new GatewayDocument
        {
            Table = new RoutingTable { Version = version, At = default, DefaultRegion = "near", AllowedRegions = ["near"], Regions = [], Services = [], Databases = [new DatabaseRow { Name = "main", Epoch = 1, State = EpochState.Open, Primary = "near", HoldId = hold }] },
        });
    }
}
