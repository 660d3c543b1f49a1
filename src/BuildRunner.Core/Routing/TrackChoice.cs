namespace BuildRunner.Core.Routing;

/// <summary>Which track (stable, canary) of a service a client gets: by weight, and the same one for the same client as long as the weights stand.</summary>
public static class TrackChoice
{
    public static string Choose(ServiceRow service, ulong client)
    {
        var tracks = service.Tracks;
        if (tracks.Count == 0)
            return "stable";
        var total = 0;
        foreach (var track in tracks)
            total += Math.Max(0, track.Weight);
        if (total == 0)
            return tracks[0].Track;
        // The last track (the canary) has the lowest numbers: growing, it takes clients over and gives none back.
        var at = (int)(ClientKey.Mix(client, service.Name) % (ulong)total);
        for (var i = tracks.Count - 1; i >= 0; i--)
        {
            at -= Math.Max(0, tracks[i].Weight);
            if (at < 0)
                return tracks[i].Track;
        }
        return tracks[0].Track;
    }
}
