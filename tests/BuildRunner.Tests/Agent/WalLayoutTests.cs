using BuildRunner.Core.Databases;
using BuildRunner.Server.Agent;

namespace BuildRunner.Tests.Agent;

[Trait("Category", "unit")]
public sealed class WalLayoutTests
{
    /// <summary>Names as `pg_walfile_name` gives them in clusters made with `--wal-segsize`.</summary>
    [Theory]
    [InlineData(1, "0/1556D58", "000000010000000000000015")]
    [InlineData(4, "0/1556D58", "000000010000000000000005")]
    [InlineData(16, "0/1556D58", "000000010000000000000001")]
    [InlineData(4, "3/FFFFFFFF", "0000000100000003000003FF")]
    [InlineData(16, "3/FFFFFFFF", "0000000100000003000000FF")]
    [InlineData(1024, "3/FFFFFFFF", "000000010000000300000003")]
    public void FileName_IsPostgreSqls(long megabytes, string at, string name)
    {
        var layout = new WalLayout(megabytes << 20);
        var segment = layout.Segment(Lsn.Parse(at));
        Assert.Equal(name, layout.FileName(1, segment));
        Assert.Equal(segment, layout.Segment(name, 1));
        Assert.Null(layout.Segment(name, 2));
    }

    [Fact]
    public void Of_Folder_IsTheSizeOfItsSegments()
    {
        var folder = Directory.CreateTempSubdirectory("br-wal-").FullName;
        try
        {
            Assert.Equal(WalLayout.Default, WalLayout.Of(folder));
            File.WriteAllText(Path.Combine(folder, "00000002.history"), "1\t0/3000000\tno recovery target specified\n");
            File.WriteAllText(Path.Combine(folder, "000000010000000000000001"), "cut short by a full disk");
            Assert.Equal(WalLayout.Default, WalLayout.Of(folder));
            using (var segment = File.Create(Path.Combine(folder, "000000010000000000000002")))
                segment.SetLength(4 << 20);
            Assert.Equal(new WalLayout(4 << 20), WalLayout.Of(folder));
        }
        finally { Directory.Delete(folder, recursive: true); }
    }

    [Fact]
    public void SegmentEnd_OfItsFirstByte_IsItself()
    {
        var layout = new WalLayout(4 << 20);
        Assert.Equal(Lsn.Parse("0/400000"), layout.SegmentEnd(Lsn.Parse("0/400000")));
        Assert.Equal(Lsn.Parse("0/800000"), layout.SegmentEnd(Lsn.Parse("0/400001")));
    }
}
