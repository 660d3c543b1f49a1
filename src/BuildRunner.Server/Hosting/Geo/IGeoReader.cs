using System.Net;
using BuildRunner.Core.Routing;

namespace BuildRunner.Server.Hosting.Geo;

/// <summary>Where an address is. Null: private, unassigned, or not in the data.</summary>
public interface IGeoReader
{
    GeoPlace? Find(IPAddress address);
}
