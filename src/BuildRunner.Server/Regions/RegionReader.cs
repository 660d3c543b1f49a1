using BuildRunner.Client.Databases;
using BuildRunner.Client.Regions;
using BuildRunner.Core.Databases;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Regions;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Regions;

/// <summary>Turns the newest reports into what the verdicts are decided on.</summary>
internal static class RegionReader
{
    public static string DatabaseOf(PolicyDocument policy) => policy.Databases.Count > 0 ? policy.Databases[0].Name : "main";

    /// <summary>The last that each region's agent said of its instances, also when it is silent now: they may well still run.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<InstanceReading>> Instances(PolicyDocument policy, INodeReports reports) =>
        policy.Regions
            .Select(r => (r.Code, Last: reports.LastAgent(r.Code)))
            .Where(r => r.Last is not null)
            .ToDictionary(r => r.Code, r => r.Last!.Value.Report.Instances, StringComparer.Ordinal);

    public static IReadOnlyList<RegionFacts> Facts(PolicyDocument policy, INodeReports reports, EpochRecord? epoch, IReadOnlyDictionary<string, RegionControl> controls)
    {
        var instances = Instances(policy, reports);
        return
        [
            .. policy.Regions.Select(region => new RegionFacts
            {
                Code = region.Code,
                Role = CurrentRole.Of(region.Role, region.Code, epoch?.Primary),
                Services = [.. policy.Services.Where(s => ProbePlanner.RunsIn(s, region)).Select(s => new ServiceFacts(s.Name, ProbePlanner.Instances(s, region.Code, instances)))],
                Database = region.DatabaseHost is null ? null : new DatabaseFacts
                {
                    Reading = reports.Agent(region.Code)?.Database,
                    ReportAge = reports.LastAgent(region.Code)?.Age,
                    Primary = epoch?.Primary,
                    Epoch = epoch?.Epoch ?? 0,
                    Moving = epoch is { State: not EpochState.Open },
                    LagMax = policy.MultiRegion.ReadLagMax,
                },
                Control = controls.GetValueOrDefault(region.Code) ?? new RegionControl(),
            }),
        ];
    }

    /// <summary>The server itself and every region's gateway; one that fell silent is named with its silence.</summary>
    public static IReadOnlyList<Observer> Observers(PolicyDocument policy, INodeReports reports, IReadOnlyList<TargetReading> own)
    {
        var observers = new List<Observer> { new() { Name = "server", Sightings = [.. own.Select(Sighting)] } };
        foreach (var region in policy.Regions)
        {
            if (reports.Gateway(region.Code) is { } report)
                observers.Add(new() { Name = $"gateway/{region.Code}", Region = region.Code, Sightings = [.. report.Targets.Select(Sighting)] });
            else if (reports.LastGateway(region.Code) is { } last)
                observers.Add(new() { Name = $"gateway/{region.Code}", Region = region.Code, SilentFor = last.Age });
        }
        return observers;
    }

    private static Sighting Sighting(TargetReading reading) => new()
    {
        Region = reading.Region,
        Service = reading.Service,
        Up = reading.Up,
        FailuresInRow = reading.FailuresInRow,
        Error = reading.LastError,
        Targets = reading.Targets,
        Down = reading.Down,
        PassiveRequests = reading.PassiveRequests,
        PassiveFailures = reading.PassiveFailures,
    };
}
