using BuildRunner.Client.Recovery;
using BuildRunner.Core.Policy;

namespace BuildRunner.Server.Recovery.Dns;

/// <summary>The names as `/v1/dr/status` tells them: of the last pass, so that asking costs no name server anything.</summary>
internal static class DnsStatus
{
    public static string Sentence(DnsLoop names) => names switch
    {
        { DriverName: DnsRules.None } => "no DNS driver is set up",
        { Current.Count: 0 } => $"driver {names.DriverName}: no name was looked at yet",
        _ when names.Current.Where(v => !v.Settled).Select(v => $"{v.Wanted.Name}: {(v.Fault is { } fault ? $"{fault.Message} {fault.Fix}" : v.Reason)}").ToList() is { Count: > 0 } wrong => string.Join("; ", wrong),
        _ => $"driver {names.DriverName}: every authoritative server answers what it should",
    };

    public static IReadOnlyList<DnsRecordStatus> Of(DnsLoop names, DnsWatchLoop resolvers) => [.. names.Current.Select(view => new DnsRecordStatus
    {
        Name = view.Wanted.Name,
        Wanted = view.Wanted.Values,
        TtlSeconds = view.Wanted.Ttl.TotalSeconds,
        Written = view.Written?.Values,
        WrittenAt = view.Written?.At,
        Driver = view.Written?.Driver,
        Settled = view.Settled,
        SettledAt = view.Settled ? view.Written?.SettledAt : null,
        Reason = view.Reason,
        TroubledSince = view.TroubledSince,
        Problem = view.Fault?.Message,
        Fix = view.Fault?.Fix,
        ReadAt = view.ReadAt,
        Servers = [.. view.Servers.Select(s => new DnsAnswerStatus { Server = s.Reading.Server, Answers = s.Reading.Values, Error = s.Reading.Error, Right = s.Right, Since = s.Since })],
        Resolvers = [.. resolvers.Current.Where(r => r.Name == view.Wanted.Name).Select(r => new DnsAnswerStatus { Server = r.Reading.Server, Answers = r.Reading.Values, Error = r.Reading.Error, Right = r.Reading.Is(view.Wanted), Since = r.Since })],
    })];
}
