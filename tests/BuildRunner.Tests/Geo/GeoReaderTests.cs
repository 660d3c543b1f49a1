using System.Net;
using BuildRunner.Server.Hosting.Geo;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace BuildRunner.Tests.Geo;

public sealed class GeoReaderTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("br-geo-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Countries => Path.Combine(AppContext.BaseDirectory, "geo", "iptoasn-country.mmdb");

    [Theory]
    [InlineData("81.2.69.142", "GB")]
    [InlineData("2a01:4f8::1", "DE")]
    [InlineData("117.192.0.1", "IN")]
    [InlineData("126.0.0.1", "JP")]
    [InlineData("200.147.3.157", "BR")]
    [InlineData("8.8.8.8", "US")]
    [InlineData("::ffff:8.8.8.8", "US")]
    public void Find_ShippedData_KnowsTheCountry(string address, string country)
    {
        using var reader = new GeoReader(Countries, null, NullLogger.Instance);
        var place = reader.Find(IPAddress.Parse(address));
        Assert.Equal((country, false), (place?.Country, place?.City));
        Assert.NotNull(place?.Point);
    }

    [Theory]
    [InlineData("10.0.0.1")]
    [InlineData("127.0.0.1")]
    [InlineData("fe80::1")]
    public void Find_PrivateAddress_IsUnknown(string address)
    {
        using var reader = new GeoReader(Countries, null, NullLogger.Instance);
        Assert.Null(reader.Find(IPAddress.Parse(address)));
    }

    [Fact]
    public void Find_CityDatabase_GoesFirstWhereItKnowsMore()
    {
        using var reader = new GeoReader(Countries, City("a.mmdb", 34.05, -118.24), NullLogger.Instance);
        var angeleno = reader.Find(IPAddress.Parse("8.8.8.8"))!.Value;
        Assert.Equal((true, "US", 34.05, -118.24), (angeleno.City, angeleno.Country, angeleno.Point!.Value.Latitude, angeleno.Point.Value.Longitude));
        Assert.False(reader.Find(IPAddress.Parse("81.2.69.142"))!.Value.City);
        Assert.True(reader.Find(IPAddress.Parse("2001:db8:1::7"))!.Value.City);
    }

    [Fact]
    public void Refresh_FileChanges_IsTakenOver_ABrokenOneIsRefused()
    {
        var file = City("b.mmdb", 34, -118);
        using var reader = new GeoReader(Countries, file, NullLogger.Instance);
        Assert.False(reader.Refresh());

        City("b.mmdb", 48, 11);
        File.SetLastWriteTimeUtc(file, DateTime.UnixEpoch.AddYears(40));
        Assert.True(reader.Refresh());
        Assert.Equal(48, reader.Find(IPAddress.Parse("8.8.8.8"))!.Value.Point!.Value.Latitude);

        var whole = File.ReadAllBytes(file);
        File.WriteAllBytes(file, whole[..(whole.Length / 3)]);
        Assert.False(reader.Refresh());
        Assert.Equal(48, reader.Find(IPAddress.Parse("8.8.8.8"))!.Value.Point!.Value.Latitude);

        File.Delete(file);
        Assert.False(reader.Refresh());
        Assert.True(reader.Find(IPAddress.Parse("8.8.8.8"))!.Value.City);
    }

    [Fact]
    public void CountryPoints_AllCountries_LieOnTheGlobe()
    {
        Assert.InRange(CountryPoints.All.Count, 245, 260);
        Assert.All(CountryPoints.All, p => Assert.True(p.Key.Length == 2 && Math.Abs(p.Value.Latitude) <= 90 && Math.Abs(p.Value.Longitude) <= 180));
    }

    private string City(string name, double latitude, double longitude)
    {
        var path = Path.Combine(_folder, name);
        new MmdbWriter().AddCity("8.8.8.0/24", "US", latitude, longitude).AddCity("2001:db8::/32", "US", latitude, longitude).Write(path);
        return path;
    }
}
