using System.Collections.Frozen;
using BuildRunner.Core.Regions;

namespace BuildRunner.Server.Hosting.Geo;

/// <summary>Where the people of a country live, on the average: `country-points.csv`, code (ISO 3166-1 alpha-2), latitude, longitude.</summary>
internal static class CountryPoints
{
    private static readonly FrozenDictionary<string, GeoPoint> ByCode = Load();

    public static IReadOnlyDictionary<string, GeoPoint> All => ByCode;

    public static GeoPoint? Find(string country) => ByCode.TryGetValue(country, out var point) ? point : null;

    private static FrozenDictionary<string, GeoPoint> Load()
    {
        using var stream = typeof(CountryPoints).Assembly.GetManifestResourceStream("country-points.csv")
            ?? throw new InvalidOperationException("The table of country points is missing from the assembly.");
        using var reader = new StreamReader(stream);
        var points = new Dictionary<string, GeoPoint>(StringComparer.Ordinal);
        while (reader.ReadLine() is { } line)
        {
            if (line.Length == 0 || line[0] == '#')
                continue;
            var fields = line.Split(',');
            points.Add(fields[0], new GeoPoint(double.Parse(fields[1], CultureInfo.InvariantCulture), double.Parse(fields[2], CultureInfo.InvariantCulture)));
        }
        return points.ToFrozenDictionary(StringComparer.Ordinal);
    }
}
