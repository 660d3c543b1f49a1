namespace BuildRunner.Client.Databases;

/// <summary>Orders to a primary's agent that run one statement of a runbook.</summary>
public static class SqlOrders
{
    /// <summary><see cref="SqlOrder"/> → <see cref="SqlResult"/>: one statement, in a transaction of its own.</summary>
    public const string Run = "sql.run";

    public const int RowsMax = 100;
    public const int ColumnsMax = 32;

    /// <summary>Characters of one value, and of all of them; what is longer is cut, and said to be.</summary>
    public const int ValueMax = 500;
    public const int TextMax = 16_000;
    public const int ParametersMax = 20;
    public static readonly TimeSpan TimeoutMax = TimeSpan.FromMinutes(5);
}

/// <param name="Role">Whose rights it has; its password is the file of that name among the agent's secrets.</param>
/// <param name="Statement">One statement with `$1`, `$2`, ….</param>
/// <param name="Parameters">Their values, as text.</param>
/// <param name="TimeoutMs">PostgreSQL ends it after so long.</param>
/// <param name="RowsMax">Rows that are kept of its answer.</param>
/// <param name="ReadOnly">The transaction may change nothing.</param>
public sealed record SqlOrder(string Role, string Statement, IReadOnlyList<string> Parameters, int TimeoutMs, int RowsMax, bool ReadOnly);

/// <param name="Affected">Rows that it changed; -1: it is no such statement.</param>
/// <param name="Columns">Names of its answer's columns.</param>
/// <param name="Rows">Its first rows as text; null is null.</param>
/// <param name="Cut">There were more rows, columns or characters than are kept.</param>
/// <param name="Milliseconds">How long it took.</param>
public sealed record SqlResult(long Affected, IReadOnlyList<string> Columns, IReadOnlyList<IReadOnlyList<string?>> Rows, bool Cut, double Milliseconds);
