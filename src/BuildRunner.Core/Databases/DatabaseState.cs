using System.Text.Json.Serialization;

namespace BuildRunner.Core.Databases;

/// <summary>What a region's copy of a database is doing: standby → promoting → primary → sealed → fenced → rejoining → standby.</summary>
[JsonConverter(typeof(SnakeCaseEnumConverter<DatabaseState>))]
public enum DatabaseState
{
    Unknown,

    /// <summary>There is no copy here yet.</summary>
    Absent,

    /// <summary>Somebody else's PostgreSQL runs here without a guard: nothing is promised of it until it is adopted.</summary>
    Unfenced,

    /// <summary>Being made, by initdb or by a base backup, or coming up.</summary>
    Starting,
    Standby,
    Promoting,
    Primary,
    Sealed,

    /// <summary>Stopped for good at its epoch; only a rejoin brings it back.</summary>
    Fenced,
    Rejoining,
}
