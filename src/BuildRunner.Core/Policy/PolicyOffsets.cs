namespace BuildRunner.Core.Policy;

/// <summary>The same policy on other ports, for a second sandbox on one machine.</summary>
public static class PolicyOffsets
{
    /// <summary>Adds to every port that is written in the policy: endpoints, databases, instances, DNS.</summary>
    public static PolicyDocument WithPortOffset(this PolicyDocument policy, int offset) => offset == 0 ? policy : policy with
    {
        Regions = [.. policy.Regions.Select(r => r with { Endpoint = Shift(r.Endpoint, offset), DatabasePort = r.DatabasePort + offset })],
        Services =
        [
            .. policy.Services.Select(s => s with
            {
                PortFrom = s.PortFrom == 0 ? 0 : s.PortFrom + offset,
                Endpoints = s.Endpoints.ToDictionary(e => e.Key, e => (IReadOnlyList<string>)[.. e.Value.Select(a => Shift(a, offset))]),
            }),
        ],
        Dns = policy.Dns with { Listen = ShiftListen(policy.Dns.Listen, offset) },
    };

    private static string Shift(string address, int offset)
    {
        var uri = new UriBuilder(address);
        uri.Port += offset;
        return uri.Uri.ToString().TrimEnd('/');
    }

    private static string ShiftListen(string listen, int offset)
    {
        var cut = listen.LastIndexOf(':');
        return string.Create(CultureInfo.InvariantCulture, $"{listen[..cut]}:{int.Parse(listen[(cut + 1)..], CultureInfo.InvariantCulture) + offset}");
    }
}
