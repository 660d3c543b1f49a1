using BuildRunner.Client.Regions;

namespace BuildRunner.Server.Regions;

/// <summary>What every observer is to probe now. The same for all: a gateway also looks at its own region, and the verdict says so.</summary>
public interface IProbePlan
{
    /// <summary>Several targets may share region and service: one an instance. The list is replaced, never changed; equal plans are the same list.</summary>
    IReadOnlyList<ProbeTarget> Current { get; }

    /// <summary>Called when the plan has changed; must not block.</summary>
    IDisposable OnChange(Action changed);
}
