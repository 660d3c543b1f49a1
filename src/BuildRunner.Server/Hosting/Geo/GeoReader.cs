using System.Net;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Routing;
using MaxMind.Db;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Hosting.Geo;

/// <summary>
/// Looks an address up: in the city database when one is given and knows it, else in the shipped country data. Files are read into memory whole,
/// so that a file cut short under us cannot take the process down; a city file that changes is taken over, a broken one is refused and the old kept.
/// </summary>
public sealed partial class GeoReader : IGeoReader, IDisposable
{
    /// <summary>`BR_GEO_CITY`: the city database where no option names one, so that gateways and the server are given the same.</summary>
    public static string? FileFromEnvironment => Environment.GetEnvironmentVariable("BR_GEO_CITY") is { Length: > 0 } file ? Path.GetFullPath(file) : null;

    private const long CityBytesMax = 512L * 1024 * 1024;
    private readonly Reader? _countries;
    private readonly string? _cityFile;
    private readonly ILogger _logger;
    private Reader? _city;
    private (DateTime Written, long Length) _citySeen;

    public GeoReader(string? cityFile, ILogger<GeoReader> logger)
        : this(Path.Combine(AppContext.BaseDirectory, "geo", "iptoasn-country.mmdb"), cityFile, logger) { }

    internal GeoReader(string countryFile, string? cityFile, ILogger logger)
    {
        (_cityFile, _logger) = (cityFile, logger);
        if (File.Exists(countryFile))
            _countries = new Reader(countryFile, FileAccessMode.Memory);
        else
            LogNoCountries(logger, countryFile);
        Refresh();
    }

    public GeoPlace? Find(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        if (FindCity(address) is { } city)
            return city;
        if (CodeIn(Look(_countries, address)) is not { } code)
            return null;
        return new GeoPlace(code, CountryPoints.Find(code), City: false);
    }

    /// <summary>Takes a changed city file over; false when it was refused (the old one stays in force) or nothing changed.</summary>
    public bool Refresh()
    {
        if (_cityFile is null)
            return false;
        var file = new FileInfo(_cityFile);
        if (!file.Exists || (file.LastWriteTimeUtc, file.Length) == _citySeen)
            return false;
        _citySeen = (file.LastWriteTimeUtc, file.Length);
        try
        {
            if (file.Length > CityBytesMax)
                throw new InvalidDatabaseException($"it has {file.Length} bytes, {CityBytesMax} are allowed");
            var city = new Reader(_cityFile, FileAccessMode.Memory);
            // A damaged tree shows when it is walked, not when it is opened.
            foreach (var _ in city.FindAll<Dictionary<string, object>>(cacheSize: 16).Take(10_000)) { }
            Volatile.Write(ref _city, city);
            LogCityTaken(_logger, _cityFile, city.Metadata.DatabaseType, city.Metadata.BuildDate);
            return true;
        }
        catch (Exception error) // whatever is wrong with the file, the one in force stays
        {
            LogCityRefused(_logger, _cityFile, error.Message);
            return false;
        }
    }

    public void Dispose()
    {
        _countries?.Dispose();
        _city?.Dispose();
    }

    private GeoPlace? FindCity(IPAddress address)
    {
        if (Look(Volatile.Read(ref _city), address) is not { } found)
            return null;
        // GeoLite2 and DB-IP nest the point under `location`, ip-location-db has it flat.
        var location = found.GetValueOrDefault("location") as IDictionary<string, object> ?? found;
        if (Number(location, "latitude") is not { } latitude || Number(location, "longitude") is not { } longitude || Math.Abs(latitude) > 90 || Math.Abs(longitude) > 180)
            return null;
        return new GeoPlace(CodeIn(found) ?? "", new GeoPoint(latitude, longitude), City: true);
    }

    private static string? CodeIn(Dictionary<string, object>? found) =>
        found is null ? null
        : found.GetValueOrDefault("country_code") as string
        ?? (found.GetValueOrDefault("country") as IDictionary<string, object> is { } country && country.TryGetValue("iso_code", out var code) ? code as string : null);

    private static double? Number(IDictionary<string, object> map, string key) =>
        map.TryGetValue(key, out var value) ? value switch { double d => d, float f => f, _ => null } : null;

    private static Dictionary<string, object>? Look(Reader? reader, IPAddress address)
    {
        try { return reader?.Find<Dictionary<string, object>>(address); }
        catch (Exception error) when (error is InvalidDatabaseException or DeserializationException or InvalidOperationException or ArgumentException) { return null; } // a hole in the data, or IPv6 asked of IPv4 data: unknown
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "No country data at {File}: regions are chosen by the gateway's own place.")]
    private static partial void LogNoCountries(ILogger logger, string file);

    [LoggerMessage(Level = LogLevel.Information, Message = "City database {File} is in force: {Type} of {Built:yyyy-MM-dd}.")]
    private static partial void LogCityTaken(ILogger logger, string file, string type, DateTime built);

    [LoggerMessage(Level = LogLevel.Error, Message = "City database {File} is refused, the one before stays in force: {Reason}")]
    private static partial void LogCityRefused(ILogger logger, string file, string reason);
}
