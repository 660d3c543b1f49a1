using BuildRunner.Core.Regions;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Regions;

/// <summary>Who looks at the regions, and what each of them sees now.</summary>
internal interface IObservers
{
    IReadOnlyList<Observer> Current { get; }
}

internal sealed class Observers(IPolicySource policy, INodeReports reports, Prober prober) : IObservers
{
    public IReadOnlyList<Observer> Current => RegionReader.Observers(policy.Current, reports, prober.Read());
}
