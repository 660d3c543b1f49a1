using BuildRunner.Core.Regions;

namespace BuildRunner.Core.Routing;

/// <summary>Which instance of a service in a region gets the request: the less busy of two that chance picks, among the healthy of the track.</summary>
public static class InstanceChoice
{
    /// <summary>
    /// Null when there is none. <paramref name="inFlight"/> counts requests now at an instance; <paramref name="chance"/> is any number;
    /// <paramref name="avoid"/> is the instance that just failed. Order of last resorts: the track's healthy, any healthy, the track's unknown, any unknown.
    /// </summary>
    public static InstanceRow? Choose(IReadOnlyList<InstanceRow> instances, string track, Func<InstanceRow, int> inFlight, ulong chance, string? avoid = null)
    {
        for (var wanted = 0; wanted < 4; wanted++)
        {
            var count = 0;
            foreach (var instance in instances)
                count += Fits(instance, wanted, track, avoid) ? 1 : 0;
            if (count == 0)
                continue;
            var first = At(instances, wanted, track, avoid, (int)(chance % (ulong)count));
            if (count == 1)
                return first;
            // The second pick is one of the others.
            var offset = 1 + (int)((chance >> 32) % (ulong)(count - 1));
            var second = At(instances, wanted, track, avoid, (int)((chance % (ulong)count) + (ulong)offset) % count);
            return inFlight(second) < inFlight(first) ? second : first;
        }
        return avoid is null ? null : Choose(instances, track, inFlight, chance);
    }

    private static InstanceRow At(IReadOnlyList<InstanceRow> instances, int wanted, string track, string? avoid, int index)
    {
        foreach (var instance in instances)
        {
            if (Fits(instance, wanted, track, avoid) && index-- == 0)
                return instance;
        }
        throw new InvalidOperationException("An instance was counted and is not there.");
    }

    private static bool Fits(InstanceRow instance, int wanted, string track, string? avoid)
    {
        if (instance.Id == avoid)
            return false;
        var healthy = instance.Health is HealthState.Healthy or HealthState.Degraded;
        return wanted switch
        {
            0 => healthy && instance.Track == track,
            1 => healthy,
            2 => instance.Health == HealthState.Unknown && instance.Track == track,
            _ => instance.Health == HealthState.Unknown,
        };
    }
}
