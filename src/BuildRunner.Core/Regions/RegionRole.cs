using System.Text.Json.Serialization;

namespace BuildRunner.Core.Regions;

/// <summary>What a region is for. `Primary` and `Standby` say what the policy wants at first; who may write now is said by the epoch record.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<RegionRole>))]
public enum RegionRole
{
    /// <summary>Takes writes.</summary>
    Primary,

    /// <summary>Serves reads from its own copy; promoted only when named.</summary>
    Replica,

    /// <summary>Stands ready to become the primary.</summary>
    Standby,

    /// <summary>A gateway and a cache; no database.</summary>
    Edge,
}
