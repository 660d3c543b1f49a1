using System.Text;
using BuildRunner.Client.Regions;

namespace BuildRunner.Dashboard.Regions;

/// <summary>A small map of the world, drawn as dots from rough outlines of our own: no file, no service, no licence.</summary>
internal static class WorldMap
{
    public const double Width = 960;
    public const double Height = 400;
    private const double West = -170, East = 182, North = 76, South = -52;
    private const double Step = 2.6;

    /// <summary>Outlines, as longitude and latitude in turn.</summary>
    private static readonly double[][] Outlines =
    [
        // North America, Greenland, South America
        [-168, 66, -156, 71, -128, 70, -110, 68, -95, 71, -82, 69, -80, 63, -94, 60, -92, 57, -82, 55, -79, 51, -76, 57, -77, 62, -70, 61, -64, 58, -56, 52, -60, 47, -66, 44, -70, 42, -74, 40, -76, 35, -81, 31, -80, 25, -83, 29, -90, 30, -97, 27, -97, 22, -94, 18, -90, 21, -87, 21, -88, 16, -83, 15, -83, 10, -78, 8, -82, 7, -86, 11, -92, 14, -96, 16, -105, 20, -110, 24, -114, 30, -117, 33, -121, 35, -124, 40, -124, 48, -130, 54, -140, 60, -152, 59, -162, 55, -158, 58, -165, 62],
        [-55, 60, -44, 60, -40, 65, -22, 70, -20, 76, -72, 78, -58, 75, -54, 70, -52, 65],
        [-78, 8, -72, 12, -62, 10, -52, 5, -50, 0, -44, -3, -35, -6, -38, -13, -40, -20, -48, -26, -54, -34, -58, -38, -65, -42, -66, -48, -69, -53, -74, -52, -75, -45, -73, -37, -71, -28, -70, -18, -76, -14, -81, -5, -80, 0, -77, 4],
        // Europe and Asia with Arabia and India
        [-9, 37, -9, 43, -2, 44, -5, 48, 2, 51, 8, 54, 8, 57, 12, 56, 12, 54, 20, 55, 24, 59, 29, 60, 22, 61, 24, 65, 18, 62, 17, 57, 12, 60, 5, 59, 6, 62, 14, 68, 25, 71, 40, 67, 45, 68, 60, 69, 70, 73, 85, 74, 105, 77, 115, 74, 140, 73, 160, 70, 180, 68, 178, 64, 163, 60, 162, 56, 156, 51, 156, 60, 142, 59, 136, 54, 141, 52, 140, 48, 132, 43, 128, 39, 129, 35, 126, 35, 125, 40, 118, 39, 122, 37, 119, 35, 122, 31, 120, 26, 114, 22, 108, 21, 106, 18, 109, 13, 105, 9, 100, 13, 103, 2, 100, 6, 98, 12, 97, 17, 92, 22, 87, 21, 80, 15, 80, 10, 77, 8, 73, 16, 72, 21, 66, 25, 57, 26, 50, 29, 48, 29, 51, 24, 56, 24, 59, 22, 52, 16, 45, 13, 42, 17, 35, 28, 35, 33, 36, 36, 28, 37, 27, 40, 40, 41, 41, 43, 37, 46, 31, 46, 28, 42, 23, 38, 20, 41, 13, 45, 18, 40, 16, 38, 11, 43, 3, 43, -1, 37, -6, 36],
        // Africa, Madagascar
        [-6, 35, 10, 37, 11, 33, 20, 32, 32, 31, 35, 27, 43, 12, 51, 12, 46, 2, 40, -4, 40, -15, 35, -22, 32, -28, 26, -34, 19, -34, 13, -22, 12, -10, 9, 0, 9, 4, -4, 5, -13, 9, -17, 15, -16, 22, -10, 30],
        [44, -17, 50, -15, 47, -25, 44, -23],
        // Australia, New Zealand, New Guinea, Borneo, Sumatra and Java, the Philippines, Japan
        [114, -22, 122, -18, 129, -14, 136, -12, 137, -16, 141, -12, 146, -19, 153, -26, 150, -37, 144, -38, 138, -34, 131, -32, 124, -33, 115, -34],
        [172, -34, 179, -38, 171, -47, 166, -46, 172, -41],
        [131, -1, 141, -3, 148, -8, 143, -9, 138, -7],
        [109, 1, 117, 7, 118, 2, 115, -4, 110, -2],
        [95, 6, 106, -5, 115, -8, 106, -8, 100, -1],
        [120, 18, 123, 14, 127, 7, 122, 7, 120, 13],
        [130, 32, 136, 34, 141, 36, 142, 43, 146, 44, 140, 43, 136, 37, 131, 34],
        // Britain, Ireland, Iceland
        [-5, 50, 1, 51, 1, 54, -2, 58, -6, 58, -4, 54],
        [-10, 52, -6, 52, -6, 55, -9, 55],
        [-24, 64, -14, 64, -14, 67, -23, 67],
    ];

    /// <summary>One path of points; round line ends make them dots.</summary>
    public static string Land { get; } = Draw();

    public static (double X, double Y) At(RegionCoordinates place) =>
        ((place.Longitude - West) / (East - West) * Width, (North - place.Latitude) / (North - South) * Height);

    private static string Draw()
    {
        var path = new StringBuilder();
        for (var latitude = North; latitude > South; latitude -= Step)
        {
            for (var longitude = West; longitude < East; longitude += Step)
            {
                if (!Outlines.Any(o => Inside(o, longitude, latitude)))
                    continue;
                var (x, y) = At(new(latitude, longitude));
                path.Append(CultureInfo.InvariantCulture, $"M{x:0} {y:0}h0");
            }
        }
        return path.ToString();
    }

    /// <summary>A ray to the east crosses the outline an odd number of times.</summary>
    private static bool Inside(double[] outline, double x, double y)
    {
        var inside = false;
        for (int i = 0, j = outline.Length - 2; i < outline.Length; j = i, i += 2)
        {
            var (xi, yi, xj, yj) = (outline[i], outline[i + 1], outline[j], outline[j + 1]);
            if (yi > y != yj > y && x < ((xj - xi) * (y - yi) / (yj - yi)) + xi)
                inside = !inside;
        }
        return inside;
    }
}
