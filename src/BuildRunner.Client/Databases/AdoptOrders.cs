namespace BuildRunner.Client.Databases;

/// <summary>Orders that take over a PostgreSQL which somebody else has made and runs.</summary>
public static class AdoptOrders
{
    /// <summary><see cref="AdoptOrder"/> → <see cref="AdoptSurvey"/>: what taking it over would meet and do; changes nothing.</summary>
    public const string Survey = "database.survey";

    /// <summary><see cref="AdoptOrder"/> → <see cref="AdoptResult"/>: restart it once, under a guard, and make it this region's database.</summary>
    public const string Adopt = "database.adopt";
}

/// <param name="Database">Name of the database.</param>
/// <param name="Epoch">The open epoch, whose primary or copy it becomes.</param>
/// <param name="Run">The run that does it, or looks.</param>
public sealed record AdoptOrder(string Database, long Epoch, string Run);

/// <summary>A PostgreSQL that may be taken over, in sentences for people.</summary>
public sealed record AdoptSurvey
{
    /// <summary>Its data directory; null: the agent was told of none.</summary>
    public string? Folder { get; init; }

    /// <summary>It was taken over already.</summary>
    public bool Adopted { get; init; }

    /// <summary>Why it is not taken over, each with what to do.</summary>
    public IReadOnlyList<string> Problems { get; init; } = [];

    /// <summary>What is done to it.</summary>
    public IReadOnlyList<string> Changes { get; init; } = [];

    /// <summary>What a person should know.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}

/// <param name="Folder">Its data directory.</param>
/// <param name="Effect">Whether this order did it; false: it was so already.</param>
/// <param name="AwayMs">From the order to stop it until it answered again; null: the restart was cut short, and it is not known.</param>
public sealed record AdoptResult(string Folder, bool Effect, double? AwayMs);
