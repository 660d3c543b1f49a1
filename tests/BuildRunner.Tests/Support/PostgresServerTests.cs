namespace BuildRunner.Tests.Support;

public sealed class PostgresServerTests
{
    [Fact(Timeout = 60_000)]
    public async Task StartStandby_PrimaryKilled_StandbyIsPromotedWithItsData()
    {
        var cancel = TestContext.Current.CancellationToken;
        await using var primary = await PostgresServer.StartAsync();
        await using var standby = await primary.StartStandbyAsync();
        await primary.ExecuteAsync("CREATE TABLE t AS SELECT 1 AS n");
        await Eventually.TrueAsync(async () => await standby.ScalarAsync<bool>("SELECT to_regclass('t') IS NOT NULL"), "the table arrives at the standby", cancel);

        await primary.KillAsync();
        await standby.PromoteAsync();
        await standby.ExecuteAsync("INSERT INTO t VALUES (2)");

        Assert.False(primary.IsRunning);
        Assert.Equal(2L, await standby.ScalarAsync<long>("SELECT count(*) FROM t"));
    }
}
