using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Simulation;

/// <summary>What must be so once everything is mended.</summary>
internal sealed partial class FailoverSimulation
{
    /// <summary>Looks each second until all copies agree, and then at every write.</summary>
    private void Judge()
    {
        if (Unconverged() is not null)
        {
            After(Second, World, Op.Judge);
            return;
        }
        var primary = _hosts[Array.IndexOf(Codes, _record.Primary)];
        var kept = new bool[_written + 1];
        for (var i = 0; i < primary.Inserted; i++)
        {
            var write = primary.Wal[i];
            if (write <= 0)
                continue;
            if (kept[write])
                Violate("NoWriteTwice", $"write {write} is there twice");
            kept[write] = true;
            if (_writes[write].Outcome == Outcome.Fail)
                Violate("NoLostAck", $"write {write} was said to have failed, and is there");
        }
        for (var write = 1; write <= _written; write++)
        {
            ref var w = ref _writes[write];
            if (w.Outcome != Outcome.Ok || kept[write])
                continue;
            _counts = _counts with { Lost = _counts.Lost + 1 };
            if (!w.Salvaged)
                Violate("LossReported", $"write {write} of client {w.Client} was acknowledged at epoch {w.Epoch} and is neither there nor in what a former primary salvaged");
        }
        _done = _violated is null;
    }

    /// <summary>
    /// What a person does who finds a run that called for one: names the region again, or lets the planner choose. A copy that a run cut off and could
    /// not give back stays cut until the epoch moves: so the primary is moved.
    /// </summary>
    private void PersonLooks()
    {
        After(20 * Second, World, Op.PersonLooks);
        var primary = Array.IndexOf(Codes, _record.Primary);
        if (_run is { Finished: false })
            return;
        if (_record.State == EpochState.Open && _hosts[primary].Primary)
        {
            if (Array.Exists(_hosts, h => h.Number != primary && h.CutEpoch >= _record.Epoch))
                Ask(automatic: false, (Array.Find(_hosts, h => h.Number != primary && h.CutEpoch < _record.Epoch) ?? _hosts[(primary + 1) % Regions]).Number, accept: true);
            return;
        }
        if (Tells)
            Say("a person looks");
        Ask(automatic: false, _record.State == EpochState.Moving && _hosts[primary].StandbySignal ? primary : null, accept: true);
    }

    private string? Unconverged()
    {
        if (_run is { Finished: false })
            return $"run {_run.Id} is at {_run.Step}";
        if (_record.State != EpochState.Open)
            return $"epoch {_record.Epoch} is {_record.State}";
        if (_now < _healed + (6 * Second))
            return "it is too early";
        var primary = _hosts[Array.IndexOf(Codes, _record.Primary)];
        if (!primary.Running || !primary.Primary || primary.PrimaryEpoch != _record.Epoch)
            return $"{_record.Primary} is not the primary of epoch {_record.Epoch}";
        if (primary.Deadline is not { } deadline || deadline < Local(primary.Number).Ticks)
            return $"{_record.Primary} has no lease";
        foreach (var host in _hosts)
        {
            if (host == primary)
                continue;
            if (host is not { Running: true, Primary: false } || host.Following != primary.Number)
                return $"{Codes[host.Number]} does not follow {_record.Primary}{(host.CutEpoch >= _record.Epoch ? $" (cut from epoch {host.CutEpoch})" : "")}";
            if (host.Inserted != primary.Inserted || primary.Flushed != primary.Inserted || host.CommonWith(primary) != host.Inserted)
                return $"{Codes[host.Number]} holds {host.Inserted} records and {_record.Primary} {primary.Inserted}";
        }
        for (var region = 0; region < Regions; region++)
        {
            if (_tables[region].Hold != 0 || _tables[region].Epoch != _record.Epoch)
                return $"the gateway of {Codes[region]} holds writes or has an old table";
        }
        return null;
    }

    private string Unfinished() => $"{Unconverged()} (epoch {_record.Epoch} {_record.State} in {_record.Primary})";
}
