using BuildRunner.Core.Alerting;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Alerting;
using BuildRunner.Server.Runbooks;
using BuildRunner.Server.Storage;
using static BuildRunner.Tests.Alerting.AlertingHouse;

namespace BuildRunner.Tests.Alerting;

/// <summary>A notification is told at least once under one key; a channel that fails is tried again, given up at last, and shown.</summary>
[Trait("Category", "unit")]
public class OutboxTests
{
    private const int Limit = 60_000;
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Timeout = Limit)]
    public async Task Deliver_ServerDiesAnywhere_IsToldUnderTheSameKey_AndOnceWhereTheChannelCanTell()
    {
        for (var writes = 0; writes < 9; writes++)
        {
            using var house = new AlertingHouse();
            await house.Alerts.RaiseAsync(Trouble(), Cancel);
            house.Store.CutAfter(writes);
            try { await house.Loop.RunOnceAsync(Cancel); }
            catch (StoreException) { } // the server is gone
            house.Store.CutAfter(null);
            house.Boot();
            await house.Loop.RunOnceAsync(Cancel);

            Assert.Single(await File.ReadAllLinesAsync(house.File, Cancel));
            Assert.Single(house.Page.Told.Select(n => n.Key).Distinct());
            Assert.True(house.Page.Told.Count is 1 or 2);
            Assert.Empty(await house.Outbox.PendingAsync(Cancel));
            Assert.Equal(2, (await house.Outbox.EndedAsync(Cancel)).Count(d => d.State == DeliveryState.Sent));
        }
    }

    [Fact(Timeout = Limit)]
    public async Task Deliver_ChannelFails_IsTriedAgainWithPauses_GivenUpAndShown_AndHoldsUpNobody()
    {
        using var house = new AlertingHouse();
        var tries = new List<DateTimeOffset>();
        house.Page.On = (_, _) =>
        {
            tries.Add(house.Time.GetUtcNow());
            return Task.FromResult<ChannelOutcome>(new ChannelOutcome.Failed("the pager's line is dead"));
        };
        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        for (var second = 0; second < 1500; second++)
        {
            await house.Loop.RunOnceAsync(Cancel);
            house.Time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Equal(DeliveryDecision.AttemptsMax, tries.Count);
        Assert.Equal([2, 4, 8, 16, 32, 64, 128, 256, 300], tries.Zip(tries.Skip(1)).Select(pair => (int)(pair.Second - pair.First).TotalSeconds));
        Assert.Single(await File.ReadAllLinesAsync(house.File, Cancel));
        var incident = await house.OnlyAsync(Cancel);
        Assert.Contains("Could not tell page (opened): the pager's line is dead", await house.LinesAsync(incident.Id, Cancel));
        Assert.Contains(await house.Events.ListAsync(50, Cancel), e => e.Kind == "notification.failed");
        Assert.Equal([DeliveryState.Sent, DeliveryState.Failed], (await house.Outbox.AboutAsync(incident.Id, Cancel)).Select(d => d.State));
    }

    [Fact(Timeout = Limit)]
    public async Task Deliver_TypeWithoutADriver_IsGivenUpAtOnceAndNamed()
    {
        using var house = new AlertingHouse(new ChannelDefinition("team", "slack", new Dictionary<string, string> { ["webhook"] = "env:SLACK_WEBHOOK" }));
        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        await house.Loop.RunOnceAsync(Cancel);
        Assert.Contains("type 'slack'", Assert.Single(await house.Outbox.EndedAsync(Cancel), d => d.State == DeliveryState.Failed).Error, StringComparison.Ordinal);
        Assert.NotNull(house.Channels.Problem("team"));
        Assert.Null(house.Channels.Problem("log"));
    }

    [Fact(Timeout = Limit)]
    public async Task Deliver_DriverThrowsOrHangs_IsAFailureThatQuotesNothing()
    {
        using var house = new AlertingHouse();
        house.Page.On = (_, _) => throw new InvalidOperationException("https://hooks.example/secret");
        await house.Alerts.RaiseAsync(Trouble(), Cancel);
        await house.Loop.RunOnceAsync(Cancel);
        Assert.Equal("page: the driver failed (InvalidOperationException)", Assert.Single(await house.Outbox.PendingAsync(Cancel)).Error);

        var asked = new TaskCompletionSource();
        house.Page.On = async (_, cancel) =>
        {
            asked.SetResult();
            await Task.Delay(Timeout.Infinite, cancel);
            return new ChannelOutcome.Sent();
        };
        house.Time.Advance(TimeSpan.FromSeconds(2));
        var pass = house.Loop.RunOnceAsync(Cancel);
        await asked.Task.WaitAsync(Cancel);
        house.Time.Advance(TimeSpan.FromSeconds(10));
        await pass;
        Assert.Equal("page did not answer within 10 s", Assert.Single(await house.Outbox.PendingAsync(Cancel)).Error);
    }

    [Fact(Timeout = Limit)]
    public async Task Prune_KeepsTheNewest()
    {
        using var house = new AlertingHouse();
        for (var i = 0; i < Outbox.EndedMax + 5; i++)
            await house.Outbox.SaveAsync(new Delivery { Channel = "page", State = DeliveryState.Sent, NextAt = default, EndedAt = DateTimeOffset.UnixEpoch.AddSeconds(i), Notification = Contracts.ChannelContract.Notification($"k{i}") }, null, Cancel);
        await house.AlertLoop.RunOnceAsync(Cancel);
        var kept = await house.Outbox.EndedAsync(Cancel);
        Assert.Equal((Outbox.EndedMax, "k5"), (kept.Count, kept[0].Notification.Key));
    }

    [Fact(Timeout = Limit)]
    public async Task Notify_DoneTwiceUnderOneKey_TellsOnce_AndVerifyKnows()
    {
        using var house = new AlertingHouse();
        var action = new NotifyAction(house.Outbox, house.Loop, house.Channels, house.Time);
        var context = Context(("channel", "file, page"), ("severity", "warning"), ("text", "us-west-1 takes over"));
        Assert.Empty((await action.CheckAsync(context, Cancel)).Problems);
        Assert.IsType<ActionVerdict.NotSo>(await action.VerifyAsync(context, Cancel));
        Assert.IsType<ActionOutcome.Done>(await action.ActAsync(context, Cancel));
        house.Boot();
        action = new NotifyAction(house.Outbox, house.Loop, house.Channels, house.Time);
        Assert.IsType<ActionVerdict.So>(await action.VerifyAsync(context, Cancel));
        Assert.IsType<ActionOutcome.Done>(await action.ActAsync(context, Cancel));
        await house.Loop.RunOnceAsync(Cancel);
        Assert.Equal(("us-west-1 takes over", AlertSeverity.Warning), (Assert.Single(house.Page.Told).Title, house.Page.Told[0].Severity));
        Assert.Single(await File.ReadAllLinesAsync(house.File, Cancel));
    }

    [Fact(Timeout = Limit)]
    public async Task Notify_OneChannelFails_TheOtherIsNotToldTwice()
    {
        using var house = new AlertingHouse();
        var action = new NotifyAction(house.Outbox, house.Loop, house.Channels, house.Time);
        var context = Context(("channel", "file,page"), ("text", "hello"));
        house.Page.On = (_, _) => Task.FromResult<ChannelOutcome>(new ChannelOutcome.Failed("dead"));
        var failed = Assert.IsType<ActionOutcome.Failed>(await action.ActAsync(context, Cancel));
        Assert.True(failed.Unknown); // the key stays
        Assert.IsType<ActionVerdict.NotSo>(await action.VerifyAsync(context, Cancel));
        house.Page.On = null;
        Assert.IsType<ActionOutcome.Done>(await action.ActAsync(context, Cancel));
        Assert.Single(await File.ReadAllLinesAsync(house.File, Cancel));
    }

    [Theory(Timeout = Limit)]
    [InlineData("slack", "critical", "hi", "no driver")]
    [InlineData("page", "loud", "hi", "severity")]
    [InlineData("page", "info", " ", "text")]
    public async Task Notify_WhatCannotBeTold_IsSaidBeforeTheRun(string channel, string severity, string text, string problem)
    {
        using var house = new AlertingHouse();
        var check = await new NotifyAction(house.Outbox, house.Loop, house.Channels, house.Time).CheckAsync(Context(("channel", channel), ("severity", severity), ("text", text)), Cancel);
        Assert.Contains(problem, Assert.Single(check.Problems), StringComparison.Ordinal);
    }

    private static ActionContext Context(params (string Name, string Value)[] with)
    {
        var arguments = with.ToDictionary(w => w.Name, w => w.Value);
        return new()
        {
            Run = "drill-1", Step = new RunbookStep { Id = "tell", Title = "Tell", Action = "notify", With = arguments }, Arguments = arguments, Inputs = new Dictionary<string, string>(),
            Outputs = new Dictionary<string, string>(), Key = "drill-1/tell", Attempt = 1, Fence = new Fence("server", 7), Actor = "ada", Reason = "test", RunStartedAt = default,
        };
    }
}
