using BuildRunner.Core.Regions;

namespace BuildRunner.Server.Regions;

/// <summary>The verdicts in force on the policy's regions, and what people have asked of them.</summary>
public interface IRegionHealth
{
    /// <summary>One verdict a region, in the policy's order; all unknown until the first pass.</summary>
    IReadOnlyList<RegionVerdict> Current { get; }

    /// <summary>What people have asked, by region code; a region without a record takes everything.</summary>
    IReadOnlyDictionary<string, RegionControl> Controls { get; }

    /// <summary>
    /// False just after a start, while the observers have not had time to report: unknown then says nothing about the regions, and whoever
    /// publishes verdicts keeps what it published before.
    /// </summary>
    bool Settled { get; }

    /// <summary>Called when a state of a region or of one of its services, or a control, has changed; must not block.</summary>
    IDisposable OnChange(Action changed);
}
