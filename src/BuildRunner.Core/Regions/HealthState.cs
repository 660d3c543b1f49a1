using System.Text.Json.Serialization;

namespace BuildRunner.Core.Regions;

/// <summary>The verdict on a region, a service in a region, or an instance. `Unknown` is a state of its own: nobody could look.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<HealthState>))]
public enum HealthState
{
    Unknown,
    Healthy,
    Degraded,
    Draining,
    Unhealthy,
}
