using BuildRunner.Core.Databases;

namespace BuildRunner.Core.Tests.Simulation;

/// <summary>The agent: what it does with the orders of a run.</summary>
internal sealed partial class FailoverSimulation
{
    private int _promotions;

    /// <summary>Where each epoch was promoted; an epoch that is started again where it was is no second promotion.</summary>
    private readonly Dictionary<int, int> _promoted = new() { [1] = 0 };

    private void OrderCame(SimulatedHost host, Order order)
    {
        if ((order.Epoch < host.SeenEpoch || order.Token < host.SeenToken) && !Without(Tooth.EpochRefusal))
        {
            Answer(order, false);
            return;
        }
        if (order.Epoch < host.SeenEpoch)
            Violate("EpochMonotone", $"{Codes[host.Number]} carries out {order.Kind} of epoch {order.Epoch} after one of epoch {host.SeenEpoch}");
        host.SeenEpoch = Math.Max(host.SeenEpoch, order.Epoch);
        host.SeenToken = Math.Max(host.SeenToken, order.Token);
        if (host.Busy && order.Kind is not (OrderKind.Fence or OrderKind.Refuse))
        {
            After(20 * Ms, Agent(host.Number), Op.OrderCame, body: order); // after the step under way
            return;
        }
        if (Tells)
            Say($"{Codes[host.Number]} carries out {order.Kind} of epoch {order.Epoch}, run {order.Run}");
        switch (order.Kind)
        {
            case OrderKind.Fence:
                FenceHere(host, order.Epoch, order);
                break;
            case OrderKind.Refuse:
                host.RefusedEpoch = Math.Max(host.RefusedEpoch, order.Epoch);
                Answer(order, true, left: Promises.Left(host.Promised, Local(host.Number)).Ticks);
                break;
            case OrderKind.Cut:
                (host.CutEpoch, host.Following) = (Math.Max(host.CutEpoch, order.Epoch), -1);
                if (!host.Running || host.Primary || !Answers(host))
                    Answer(order, false);
                else
                    Begin(host, "is cut", _random.Between(20 * Ms, 100 * Ms), () => Answer(order, host is { Running: true, Primary: false }, host.Flushed));
                break;
            case OrderKind.CatchUp when host.CutEpoch < order.Epoch || !host.Running || host.Primary:
                Answer(order, false);
                break;
            case OrderKind.CatchUp:
                Begin(host, $"takes from {Codes[order.From]} what that holds more", _random.Between(30 * Ms, 150 * Ms), () =>
                {
                    var from = _hosts[order.From];
                    if (OpenBoth(host.Number, order.From) && from is { Running: true, Primary: false } && host is { Running: true, Primary: false } && host.CommonWith(from) == host.Inserted)
                        host.CopyFrom(from, host.Inserted, Math.Max(host.Inserted, Math.Min(order.Until, from.Flushed)));
                    Answer(order, host.Flushed >= order.Until, host.Flushed);
                });
                break;
            case OrderKind.Uncut:
                (host.CutEpoch, host.RefusedEpoch, host.Following) = (0, 0, -1);
                Answer(order, true);
                break;
            case OrderKind.Promote:
                Promote(host, order);
                break;
            case OrderKind.Restart:
                Restart(host, order);
                break;
        }
    }

    private void Answer(Order order, bool done, int position = -1, long left = 0) => Send(Agent(order.To), Server, Op.OrderAnswered, done ? 1 : 0, position, left, order);

    private bool Stale(SimulatedHost host, int epoch) => (host.FencedEpoch >= epoch || host.SeenEpoch > epoch) && !Without(Tooth.EpochRefusal);

    private void Promote(SimulatedHost host, Order order)
    {
        var epoch = order.Epoch;
        var promised = order.Proof is not (FenceProofKind.Stopped or FenceProofKind.PoweredOff) && host.PromotingEpoch != epoch && Promises.Left(host.Promised, Local(host.Number)) > TimeSpan.Zero;
        if (Stale(host, epoch) || (promised && !Without(Tooth.TargetPromise)) || host.PostmasterFrozen)
        {
            Answer(order, false);
            return;
        }
        if (!host.Running)
        {
            if (host.StandbySignal)
                Begin(host, "starts as a standby, to be promoted", _random.Between(100 * Ms, 300 * Ms), () => { StartPostgres(host, primary: false); Promote(host, order); });
            else if (host.PromotingEpoch == epoch || host.PrimaryEpoch == epoch)
                Begin(host, "starts again in its promotion", _random.Between(100 * Ms, 300 * Ms), () => { StartPostgres(host, primary: true); Promote(host, order); });
            else
                Answer(order, false);
            return;
        }
        if (!host.Primary)
        {
            host.PromotingEpoch = epoch;
            Begin(host, $"is promoted to epoch {epoch}", _random.Between(30 * Ms, 250 * Ms), () =>
            {
                if (!host.Running || host.Primary)
                {
                    Answer(order, host.PrimaryEpoch == epoch);
                    return;
                }
                (host.Primary, host.StandbySignal) = (true, false);
                Turn(host, epoch);
                Began(host, epoch);
                Begin(host, "writes its marker", _random.Between(2 * Ms, 20 * Ms), () => Mark(host, order));
            });
            return;
        }
        if (host.PromotingEpoch != epoch && host.PrimaryEpoch != epoch)
        {
            Answer(order, false);
            return;
        }
        Begin(host, "writes its marker", _random.Between(2 * Ms, 20 * Ms), () => Mark(host, order));
    }

    private void Mark(SimulatedHost host, Order order)
    {
        if (!host.Running || !host.Primary || Stale(host, order.Epoch))
        {
            Answer(order, false);
            return;
        }
        if (host.MarkerEpoch != order.Epoch)
            Turn(host, order.Epoch);
        (host.PrimaryEpoch, host.PromotingEpoch, host.CutEpoch, host.Following) = (order.Epoch, 0, 0, -1);
        Answer(order, true, host.Segments[^1].Start);
    }

    /// <summary>A new timeline; its first record is on the disk.</summary>
    private void Turn(SimulatedHost host, int epoch)
    {
        host.Segments.Add(new WalSegment(++_promotions, epoch, host.Inserted));
        host.Append(-epoch);
        host.Flushed = host.Inserted;
    }

    private void Restart(SimulatedHost host, Order order)
    {
        if (Stale(host, order.Epoch) || (!host.Running && (host.StandbySignal || host.PrimaryEpoch == 0)) || (host.Running && !host.Primary))
        {
            Answer(order, false);
            return;
        }
        if (host.Running)
        {
            Mark(host, order);
            return;
        }
        Begin(host, $"starts again, as epoch {order.Epoch}", _random.Between(100 * Ms, 300 * Ms), () =>
        {
            StartPostgres(host, primary: true, order.Epoch);
            Began(host, order.Epoch);
            Mark(host, order);
        });
    }

    /// <summary>A copy becomes a primary: what must be so at this moment, whoever ordered it.</summary>
    private void Began(SimulatedHost host, int epoch)
    {
        _counts = _counts with { Promotions = _counts.Promotions + 1 };
        if (!_promoted.TryAdd(epoch, host.Number) && _promoted[epoch] != host.Number)
            Violate("OnePromotionPerEpoch", $"epoch {epoch} begins in {Codes[host.Number]} and began in {Codes[_promoted[epoch]]}");
        if (host.FencedEpoch >= epoch)
            Violate("FencedStaysDown", $"{Codes[host.Number]} becomes the primary of epoch {epoch} and was fenced at {host.FencedEpoch}");
        if (_record.Epoch < epoch || (_record.Epoch == epoch && _record.Former?.Proof is not { } proof) || (_record.Epoch == epoch && _record.Former?.Proof?.Epoch < epoch - 1))
            Violate("ProofBeforePromotion", $"{Codes[host.Number]} becomes the primary of epoch {epoch}, and the record holds no proof about epoch {epoch - 1}");
    }
}
