using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;

namespace BuildRunner.Tests.Agent;

public class WalDumpTests
{
    private static WalDump Read(params string[] lines)
    {
        var dump = new WalDump(WalLayout.Default);
        foreach (var line in lines)
            dump.Add(line);
        return dump;
    }

    [Fact]
    public void Add_RecordsBeforeWhatIsAskedFor_ArePassedOver()
    {
        var dump = new WalDump(WalLayout.Default, Lsn.Parse("0/155A3F8"));
        dump.Add("rmgr: Transaction len (rec/tot):     34/    34, tx:        742, lsn: 0/0155A3B8, prev 0/0155A380, desc: COMMIT 2026-01-02 03:04:05.678901 UTC");
        Assert.Equal((0L, 0L, (Lsn?)null), (dump.Commits, dump.Records, dump.End));
        dump.Add("rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/0155A3F8, prev 0/0155A3B8, desc: COMMIT 2026-01-02 03:04:05.678901 UTC");
        Assert.Equal((1L, Lsn.Parse("0/155A420")), (dump.Commits, dump.End));
        Assert.Equal([743u], dump.Transactions);
    }

    [Fact]
    public void Add_Commit_CountsItsTransactionAndTime()
    {
        var dump = Read(
            "rmgr: Heap        len (rec/tot):     59/    59, tx:        743, lsn: 0/0155A3B8, prev 0/0155A380, desc: INSERT off 1 flags 0x00, blkref #0: rel 1663/5/16384 blk 0",
            "rmgr: Transaction len (rec/tot):     34/    34, tx:        743, lsn: 0/0155A3F8, prev 0/0155A3B8, desc: COMMIT 2026-01-02 03:04:05.678901 UTC");
        Assert.Equal((1L, 2L, Lsn.Parse("0/155A420")), (dump.Commits, dump.Records, dump.End));
        Assert.Equal([743u], dump.Transactions);
        Assert.Equal(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero).AddTicks(6789010), dump.LastCommit);
    }

    [Fact]
    public void Add_CommitWithMore_Counts() => Assert.Equal(1, Read(
        "rmgr: Transaction len (rec/tot):    405/   405, tx:        750, lsn: 0/01560000, prev 0/0155A3F8, desc: COMMIT 2026-01-02 03:04:05.678901 UTC; inval msgs: catcache 50 catcache 49; sync").Commits);

    [Fact]
    public void Add_CommitPrepared_CountsThePreparedTransaction()
    {
        var dump = Read("rmgr: Transaction len (rec/tot):     54/    54, tx:          0, lsn: 0/01560000, prev 0/0155A3F8, desc: COMMIT_PREPARED 751: 2026-01-02 03:04:05.678901 UTC");
        Assert.Equal((1L, 751u), (dump.Commits, dump.Transactions[0]));
    }

    [Theory]
    [InlineData("rmgr: Transaction len (rec/tot):     34/    34, tx:        744, lsn: 0/0155A3F8, prev 0/0155A3B8, desc: ABORT 2026-01-02 03:04:05.678901 UTC")]
    [InlineData("pg_waldump: error: error in WAL record at 0/155A3F8: invalid record length at 0/155A420: wanted 24, got 0")]
    [InlineData("")]
    public void Add_AnythingElse_IsNoCommit(string line) => Assert.Equal(0, Read(line).Commits);

    [Theory]
    [InlineData("0/155A3F8", 34, "0/155A420")]
    [InlineData("0/1FF8", 100, "0/2078")] // around the header of the next page: 8 + 24 + 92
    [InlineData("0/FFFFF8", 100, "0/1000088")] // a segment's first header is longer: 8 + 40 + 92
    public void Advance_Record_EndsPastPageHeadersAtAMultipleOfEight(string start, long length, string end) => Assert.Equal(Lsn.Parse(end), WalDump.Advance(WalLayout.Default, Lsn.Parse(start), length));

    [Theory]
    [InlineData(1, "0/3000060")]
    [InlineData(2, "0/5000000")]
    [InlineData(3, null)]
    public void LeftAt_Timeline_IsItsLine(int timeline, string? at) =>
        Assert.Equal(at, TimelineHistory.LeftAt("1\t0/3000060\tno recovery target specified\n\n2\t0/5000000\tno recovery target specified\n", timeline)?.ToString());
}
