using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Databases;

/// <summary>
/// A primary with its WAL, three copies that flush when they like, an agent that takes assignments late and in leaps, a server whose reports are old and
/// which is replaced at times. The planner is the shipped one.
/// </summary>
public sealed class SyncModel(SyncWish wish, bool lease, SyncModel.Fault fault = SyncModel.Fault.None)
{
    private static readonly string[] Copies = ["a", "b", "c"];
    private readonly Dictionary<string, ulong> _flushed = Copies.ToDictionary(c => c, _ => 0UL);
    private readonly Dictionary<string, bool> _streams = Copies.ToDictionary(c => c, _ => true);
    private readonly List<(long Version, string Names)> _sent = [];
    private SyncWish _wish = wish;
    private SyncSetting _inForce = lease ? SyncSetting.Gate : SyncSetting.None;
    private SyncReading? _verified;
    private long _applied;
    private ulong _written = 1;
    private ulong _acknowledged;
    private SyncRecord? _record;
    private string? _told;
    private long? _since;
    private long _version;
    private Report _report = new("", null, [], []);

    public enum Fault
    {
        None,

        /// <summary>The setting is told before the record is weakened.</summary>
        SettingFirst,

        /// <summary>What was told is taken to be in force, and the copies to have caught up.</summary>
        NoWait,

        /// <summary>The agent's word about an older assignment counts.</summary>
        OldWord,
    }

    private sealed record Report(string Shown, SyncReading? Verified, Dictionary<string, ulong> Flushed, Dictionary<string, bool> Streams);

    /// <summary>Lets things happen; what was broken, or null.</summary>
    public string? Run(IReadOnlyList<int> steps)
    {
        Look();
        foreach (var step in steps)
        {
            Step(step % 12, step / 12);
            if (Broken() is { } broken)
                return broken;
        }
        return null;
    }

    /// <summary>Everything streams and is prompt from now on: the record claims what the policy wants.</summary>
    public bool Settles()
    {
        foreach (var copy in Copies)
            _streams[copy] = true;
        for (var round = 0; round < 40; round++)
        {
            foreach (var copy in Copies)
                _flushed[copy] = _written;
            Take(_sent.Count - 1);
            Verify();
            Look();
            Pass();
            if (Broken() is not null)
                return false;
        }
        return _wish switch
        {
            SyncWish.None => _record is null,
            SyncWish.One => _record is { State: SyncState.Sync, Required: 1, Members.Count: 1 },
            _ => _record is { State: SyncState.Sync, Required: 2, Members.Count: 3 },
        };
    }

    private void Step(int what, int choice)
    {
        var copy = Copies[choice % Copies.Length];
        switch (what)
        {
            case 0 or 1:
                _written++;
                break;
            case 2 or 3:
                if (_streams[copy])
                    _flushed[copy] += (ulong)choice % (_written - _flushed[copy] + 1);
                break;
            case 4:
                Acknowledge();
                break;
            case 5:
                _streams[copy] = !_streams[copy];
                break;
            case 6:
                Look();
                break;
            case 7:
                Take(_sent.Count == 0 ? -1 : choice % _sent.Count);
                break;
            case 8:
                Verify();
                break;
            case 9 or 10:
                Pass();
                break;
            case 11 when choice % 5 == 0:
                (_told, _since) = (null, null); // another leader
                break;
            case 11 when choice % 5 == 1:
                _wish = (SyncWish)(choice / 5 % 3);
                break;
            default:
                Pass();
                Take(_sent.Count - 1);
                Verify();
                Look();
                break;
        }
    }

    /// <summary>Answers what the setting in force lets through.</summary>
    private void Acknowledge()
    {
        while (_acknowledged < _written && (_inForce.Regions.Count == 0 || _inForce.Regions.Count(r => _streams[r] && _flushed[r] > _acknowledged) >= _inForce.Required))
            _acknowledged++;
    }

    private void Look() => _report = new(_inForce.Names, _verified, new(_flushed), new(_streams));

    private void Take(int index)
    {
        if (index < 0 || _sent[index].Version <= _applied)
            return;
        _applied = _sent[index].Version;
        if (_sent[index].Names != _inForce.Names)
            _verified = null;
        else if (_verified is { } known)
            _verified = known with { Version = _applied };
        _inForce = SyncSetting.Parse(_sent[index].Names);
    }

    private void Verify()
    {
        if (_applied > 0)
            _verified ??= new SyncReading(_inForce.Names, _applied, new Lsn(_written));
    }

    private void Pass()
    {
        var facts = new SyncFacts
        {
            Wish = _wish,
            Lease = lease,
            Record = _record,
            Told = _told,
            Shown = _report.Shown,
            InForce = fault == Fault.NoWait && _told is not null ? new(_told, _since ?? 0, default)
                : _told is not null && _report.Verified is { } seen && seen.Names == _told && (fault == Fault.OldWord || seen.Version >= _since) ? seen : null,
            Candidates = [.. Copies.Select(c => new SyncCandidate(c, c != "c", _report.Streams[c], _report.Streams[c], new Lsn(_report.Flushed[c])))],
        };
        var step = SyncPlanner.Decide(facts, default);
        if (fault == Fault.SettingFirst && step is SyncStep.WriteRecord { Record.State: SyncState.Changing } weaken && SyncPlanner.Decide(facts with { Record = weaken.Record }, default) is SyncStep.WriteSetting early)
            step = early;
        if (step is SyncStep.WriteRecord write)
            _record = write.Record;
        else if (step is SyncStep.WriteSetting setting)
            (_told, _since) = (setting.Setting.Names, ++_version);
        if (step is SyncStep.WriteSetting)
            _sent.Add((_version, _told!));
    }

    private string? Broken()
    {
        if (lease && _record is null or { State: SyncState.Degraded } && _inForce.Regions.Count > 0)
            return $"{_record?.State.ToString() ?? "no record"} while commits wait for {_inForce.Names} and not for the guard";
        if (_record is not { Claims: true } record)
            return null;
        var held = record.Members.Select(m => _flushed[m]).Order().ToList();
        // The worst choice of members to cut off is the one of those that hold least.
        return held[record.CutsNeeded - 1] < _acknowledged
            ? $"{record.Required} of {string.Join(",", record.Members)} are claimed to hold {_acknowledged}; they hold {string.Join(",", record.Members.Select(m => _flushed[m]))}"
            : null;
    }
}
