using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Checking;

/// <summary>What is wrong with a history; every line begins with the name of the invariant (FAILOVER.md 10). Nothing: it holds.</summary>
public static class HistoryChecker
{
    private const int LinesMax = 20;

    /// <param name="operations">Every write of every client.</param>
    /// <param name="end">What was found at the end.</param>
    /// <param name="lossAllowed">Asynchronous replication: acknowledged writes may be lost if they are reported.</param>
    public static IReadOnlyList<string> Judge(IReadOnlyList<Operation> operations, FinalState end, bool lossAllowed = true) =>
        [.. OneAcknowledger(operations, end).Concat(Kept(operations, end, lossAllowed)).Concat(Reported(end)).Concat(Converges(end)).Take(LinesMax)];

    private static IEnumerable<string> OneAcknowledger(IReadOnlyList<Operation> operations, FinalState end)
    {
        var acknowledged = operations.Where(o => o is { Outcome: OrderOutcomeKind.Ok, Epoch: not null }).ToList();
        // The first answer of each epoch or a higher one, from the highest down.
        var first = new List<(long Epoch, long Completed)>();
        foreach (var group in acknowledged.GroupBy(o => o.Epoch!.Value).OrderByDescending(g => g.Key))
            first.Add((group.Key, Math.Min(group.Min(o => o.Completed), first.Count > 0 ? first[^1].Completed : long.MaxValue)));
        foreach (var late in acknowledged)
        {
            // The entry just above the write's own epoch holds the earliest answer of all above it.
            var above = first.LastOrDefault(f => f.Epoch > late.Epoch);
            if (above.Epoch > 0 && late.Invoked > above.Completed)
                yield return $"OneAcknowledger: {late.Client} had {late.Id} acknowledged at epoch {late.Epoch}, sent after a write of epoch {above.Epoch} or above had been acknowledged";
        }
        foreach (var twice in operations.Where(o => o is { Outcome: OrderOutcomeKind.Ok, Number: not null }).GroupBy(o => o.Number).Where(g => g.Count() > 1))
        {
            // One of them stands; each of the others must be of an earlier epoch and reported lost.
            foreach (var former in twice.OrderByDescending(o => o.Epoch).Skip(1))
            {
                if (former.Epoch == twice.Max(o => o.Epoch) || !IsSalvaged(former, end))
                    yield return $"OneAcknowledger: the counter answered {former.Number} to {former.Client} at epoch {former.Epoch} and to {twice.MaxBy(o => o.Epoch)!.Client} at epoch {twice.Max(o => o.Epoch)}, and the first is not reported lost";
            }
        }
    }

    private static IEnumerable<string> Kept(IReadOnlyList<Operation> operations, FinalState end, bool lossAllowed)
    {
        var missing = new List<Operation>();
        foreach (var operation in operations)
        {
            var times = end.Held.GetValueOrDefault(operation.Id);
            if (times > 1)
                yield return $"NoWriteTwice: {operation.Id} of {operation.Client} is there {times} times";
            if (operation.Outcome == OrderOutcomeKind.Fail && times > 0)
                yield return $"NoLostAck: {operation.Id} of {operation.Client} was said to have failed, and is there";
            if (operation.Outcome == OrderOutcomeKind.Ok && times == 0)
                missing.Add(operation);
        }
        if (missing.Count == 0)
            yield break;
        if (!lossAllowed)
        {
            yield return $"NoLostAck: {missing.Count} acknowledged writes are missing, the first is {missing[0].Id} of {missing[0].Client}";
            yield break;
        }
        foreach (var group in missing.GroupBy(o => o.Epoch))
        {
            var reports = end.Salvaged.Where(s => group.Key is null || s.Epoch == group.Key).ToList();
            if (reports.Count == 0)
                yield return $"LossReported: {group.Count()} acknowledged writes of epoch {group.Key} are missing, and nothing was salvaged of it";
            else if (reports.TrueForAll(r => r.Commits is not null) && group.Count() > reports.Sum(r => r.Commits))
                yield return $"LossReported: {group.Count()} acknowledged writes of epoch {group.Key} are missing, and {reports.Sum(r => r.Commits)} commits are reported lost";
            else if (reports.Exists(r => r.Commits is null))
                yield return $"LossReported: {group.Count()} acknowledged writes of epoch {group.Key} are missing, and how many commits were lost is unknown";
        }
        foreach (var unreported in missing.Where(o => o.Transaction is not null && !IsSalvaged(o, end)))
            yield return $"LossReported: transaction {unreported.Transaction} of {unreported.Client} at epoch {unreported.Epoch} was acknowledged, is missing, and is in no salvage";
    }

    /// <summary>What is reported lost is what the salvaged WAL holds, no less and no more.</summary>
    private static IEnumerable<string> Reported(FinalState end) =>
        from salvage in end.Salvaged
        where salvage.Commits is not null && (salvage.Commits != salvage.Transactions.Count || salvage.Named?.SetEquals(salvage.Transactions) == false)
        select $"LossReported: {salvage.Commits} commits of {salvage.Region} at epoch {salvage.Epoch} are reported lost, and its salvaged WAL holds {salvage.Transactions.Count}";

    private static IEnumerable<string> Converges(FinalState end)
    {
        if (end.Primaries.Count != 1)
            yield return $"Converges: {end.Primaries.Count} primaries ({string.Join(", ", end.Primaries)})";
        if (end.Checksums.Values.Distinct().Count() > 1)
            yield return $"Converges: the copies differ: {string.Join(", ", end.Checksums.Select(c => $"{c.Key} {c.Value}"))}";
        foreach (var left in end.Left)
            yield return $"Converges: {left}";
    }

    private static bool IsSalvaged(Operation operation, FinalState end) =>
        end.Salvaged.Any(s => s.Epoch == operation.Epoch && (operation.Transaction is { } transaction ? s.Transactions.Contains(transaction) : s.Commits > 0));
}
