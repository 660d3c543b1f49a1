using System.Text.Json;
using BuildRunner.Client.Hosting;

namespace BuildRunner.Server.Hosting;

/// <summary>The line to one node: its document, its orders under way, and the poll that waits for either.</summary>
internal sealed class NodeLine(NodeName name, TimeProvider time)
{
    private const int FormerMax = 16;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, UnderWay> _orders = new(StringComparer.Ordinal);
    private readonly Queue<string> _former = new();
    private TaskCompletionSource _news = NewSignal();
    private string? _incarnation;
    private long _seenAt;
    private DateTimeOffset _lastSeen;
    private long _documentVersion;
    private JsonElement _document;
    private long _versionInForce;
    private long _polls;
    private bool _polling;
    private bool _broken;

    /// <summary>An order and the callers that wait for it.</summary>
    public sealed class UnderWay(Order order)
    {
        private readonly TaskCompletionSource<OrderResult> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Order Order => order;
        public Task<OrderResult> Result => _result.Task;
        public int Callers { get; set; }
        public bool Delivered { get; set; }

        public void Finish(OrderResult result) => _result.TrySetResult(result);
    }

    /// <summary>Null: not heard of lately.</summary>
    public NodeLink? Link
    {
        get
        {
            lock (_gate)
            {
                return Away() ? null : new NodeLink(name, _incarnation!, _lastSeen, _polling, _versionInForce) { Broken = _broken };
            }
        }
    }

    public void Publish(long version, JsonElement document)
    {
        lock (_gate)
        {
            if (version <= _documentVersion)
                return;
            (_documentVersion, _document) = (version, document);
            Signal();
        }
    }

    /// <summary>Joins the order of this id, or puts a new one on the line; null when the line is full.</summary>
    public UnderWay? Join(Order order)
    {
        lock (_gate)
        {
            if (!_orders.TryGetValue(order.Id, out var underWay))
            {
                if (_orders.Count >= NodeLinks.OrdersMax)
                    return null;
                _orders.Add(order.Id, underWay = new UnderWay(order));
                Signal();
            }
            underWay.Callers++;
            return underWay;
        }
    }

    /// <summary>An order for which nobody waits any more is taken off the line: a node that comes back must not carry out what was given up.</summary>
    public void Leave(UnderWay underWay)
    {
        lock (_gate)
        {
            if (--underWay.Callers == 0 && _orders.TryGetValue(underWay.Order.Id, out var current) && current == underWay)
                _orders.Remove(underWay.Order.Id);
        }
    }

    public void Finish(OrderResult result)
    {
        lock (_gate)
        {
            if (_orders.Remove(result.Id, out var underWay))
                underWay.Finish(result);
        }
    }

    /// <summary>Why there was no answer, for people.</summary>
    public string Absence(bool delivered, TimeSpan timeout)
    {
        lock (_gate)
        {
            return delivered ? $"{name} took the order but did not answer within {timeout.TotalSeconds:0.#} s."
                : _incarnation is null ? $"{name} has not called in since this server started."
                : $"{name} was last heard of {time.GetElapsedTime(_seenAt).TotalSeconds:0.#} s ago.";
        }
    }

    public bool Hear(string incarnation)
    {
        lock (_gate)
        {
            if (_former.Contains(incarnation))
                return false;
            if (_incarnation is { } before && before != incarnation)
            {
                _former.Enqueue(before);
                if (_former.Count > FormerMax)
                    _former.Dequeue();
                _versionInForce = 0;
                foreach (var underWay in _orders.Values)
                    underWay.Delivered = false;
                Signal(); // ends the wait of the former process
            }
            _incarnation = incarnation;
            _seenAt = time.GetTimestamp();
            _lastSeen = time.GetUtcNow();
            return true;
        }
    }

    public async Task<NodePollAnswer?> PollAsync(NodePoll poll, CancellationToken cancel)
    {
        if (!Hear(poll.Incarnation))
            return null;
        long mine;
        lock (_gate)
        {
            mine = ++_polls;
            (_polling, _broken) = (true, false);
            _versionInForce = poll.DocumentVersion;
            Signal(); // of two polls the newer one counts: the older one's connection is gone
        }
        try
        {
            var wait = TimeSpan.FromMilliseconds(Math.Clamp(poll.WaitMs, 0, (int)NodeLinks.WaitMax.TotalMilliseconds));
            var from = time.GetTimestamp();
            while (true)
            {
                Task news;
                lock (_gate)
                {
                    if (_incarnation != poll.Incarnation)
                        return null;
                    var left = wait - time.GetElapsedTime(from);
                    if (AnswerTo(poll) is { } answer && (answer.Orders.Count > 0 || answer.Document is not null || left <= TimeSpan.Zero || mine != _polls))
                        return mine == _polls ? answer : new NodePollAnswer();
                    news = _news.Task;
                }
                await news.WaitAsync(wait - time.GetElapsedTime(from) is { Ticks: > 0 } rest ? rest : TimeSpan.FromMilliseconds(1), time, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                cancel.ThrowIfCancellationRequested();
            }
        }
        finally
        {
            lock (_gate)
            {
                if (mine == _polls)
                {
                    (_polling, _broken) = (false, cancel.IsCancellationRequested);
                    _seenAt = time.GetTimestamp();
                    _lastSeen = time.GetUtcNow();
                }
            }
        }
    }

    private NodePollAnswer AnswerTo(NodePoll poll)
    {
        var orders = _orders.Values.Where(underWay => !poll.Working.Contains(underWay.Order.Id, StringComparer.Ordinal)).ToList();
        foreach (var underWay in orders)
            underWay.Delivered = true;
        var newer = _documentVersion > poll.DocumentVersion;
        return new NodePollAnswer
        {
            DocumentVersion = newer ? _documentVersion : poll.DocumentVersion,
            Document = newer ? _document : null,
            Orders = [.. orders.Select(underWay => underWay.Order)],
        };
    }

    private bool Away() => _incarnation is null || (!_polling && time.GetElapsedTime(_seenAt) > NodeLinks.SeenMax);

    private void Signal()
    {
        _news.TrySetResult();
        _news = NewSignal();
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
