using BuildRunner.Core.Alerting;
using BuildRunner.Server.Alerting.Channels;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Tests.Contracts;

/// <summary>What every notification channel does, whatever is behind it.</summary>
public abstract class ChannelContract
{
    private protected abstract Task<ChannelUnderTest> MakeAsync();

    /// <summary>A channel, what arrived behind it, and a way to break what is behind it.</summary>
    private protected abstract class ChannelUnderTest : IAsyncDisposable
    {
        public abstract INotificationChannel Channel { get; }

        /// <summary>Titles, in the order in which they arrived.</summary>
        public abstract IReadOnlyList<string> Delivered();
        public abstract void Break();
        public abstract void Mend();

        /// <summary>What stands behind a reference in the channel's settings; null: the type has no secret.</summary>
        public virtual string? Secret => null;

        /// <summary>Everything that was logged on the way.</summary>
        public virtual string Logged => "";
        public virtual ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    internal static Notification Notification(string key, string title = "us-east-1 is unhealthy") => new()
    {
        Key = key,
        Severity = AlertSeverity.Critical,
        Title = title,
        Text = "gateway: refused.\n\"Quotes\", <angles> & <!channel> stay what they are – also ü.",
        At = new DateTimeOffset(2026, 11, 27, 9, 0, 0, TimeSpan.Zero),
        What = "opened",
        Incident = "inc-1",
        Group = "inc-1",
        Command = "br dr failover --target us-west-1",
    };

    [Fact(Timeout = 20_000)]
    public async Task Send_New_Arrives()
    {
        await using var under = await MakeAsync();
        Assert.IsType<ChannelOutcome.Sent>(await under.Channel.SendAsync(Notification("k1"), Cancel));
        Assert.Equal(["us-east-1 is unhealthy"], under.Delivered());
        Assert.NotEmpty(under.Channel.Name);
    }

    [Fact(Timeout = 20_000)]
    public async Task Send_TheSameKeyAgain_ArrivesOnceAndSaysSent()
    {
        await using var under = await MakeAsync();
        foreach (var key in new[] { "k1", "k2", "k1", "k1" })
            Assert.IsType<ChannelOutcome.Sent>(await under.Channel.SendAsync(Notification(key, key), Cancel));
        Assert.Equal(["k1", "k2"], under.Delivered());
    }

    [Fact(Timeout = 20_000)]
    public async Task Send_TheSameKeyAtOnce_ArrivesOnce()
    {
        await using var under = await MakeAsync();
        var channel = under.Channel;
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => channel.SendAsync(Notification("k1"), Cancel))));
        Assert.All(outcomes, outcome => Assert.IsType<ChannelOutcome.Sent>(outcome));
        Assert.Single(under.Delivered());
    }

    [Fact(Timeout = 20_000)]
    public async Task Send_Broken_SaysWhatFailedAndArrivesOnceItIsMended()
    {
        await using var under = await MakeAsync();
        under.Break();
        var failed = Assert.IsType<ChannelOutcome.Failed>(await under.Channel.SendAsync(Notification("k1"), Cancel));
        Assert.False(failed.Permanent);
        Assert.True(failed.Error.Length > 10, failed.Error);
        under.Mend();
        Assert.IsType<ChannelOutcome.Sent>(await under.Channel.SendAsync(Notification("k1"), Cancel));
        Assert.Single(under.Delivered());
    }

    [Fact(Timeout = 20_000)]
    public async Task Send_Cancelled_ThrowsAndNothingArrives()
    {
        await using var under = await MakeAsync();
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => under.Channel.SendAsync(Notification("k1"), cancelled.Token));
        Assert.Empty(under.Delivered());
    }

    [Fact(Timeout = 20_000)]
    public async Task Send_WhateverHappens_NoSecretIsSaid()
    {
        await using var under = await MakeAsync();
        await under.Channel.SendAsync(Notification("k1"), Cancel);
        under.Break();
        var failed = Assert.IsType<ChannelOutcome.Failed>(await under.Channel.SendAsync(Notification("k2"), Cancel));
        Assert.True(under.Secret is null || !$"{failed.Error} {under.Logged} {under.Channel}".Contains(under.Secret, StringComparison.Ordinal), "the secret was said");
    }
}

/// <summary>Remembers what was logged; breaks when told to.</summary>
internal sealed class KeptLog : ILoggerFactory, ILogger
{
    private readonly List<string> _lines = [];

    public bool Broken { get; set; }

    public IReadOnlyList<string> Lines
    {
        get
        {
            lock (_lines)
                return [.. _lines];
        }
    }

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (Broken)
            throw new IOException("the log's disk is full");
        lock (_lines)
            _lines.Add($"{logLevel}: {formatter(state, exception)}");
    }

    public void Dispose() { }
}
