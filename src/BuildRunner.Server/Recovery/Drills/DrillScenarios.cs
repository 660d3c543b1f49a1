using System.Reflection;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Recovery.Drills;

/// <summary>The scenarios that this executable brings, and those of the folder `scenarios` beside the policy, which come before them. Read when they are asked for.</summary>
internal sealed class DrillScenarios(PolicyOptions? options = null)
{
    private const int FilesMax = 100;
    private const string Resource = "scenarios/";
    private static readonly Lazy<IReadOnlyList<DrillScenario>> ShippedOnes = new(ReadShipped);

    public static IReadOnlyList<DrillScenario> Shipped => ShippedOnes.Value;

    /// <summary>From a file's bytes to what they mean.</summary>
    public static DrillScenarioBinding Bind(ReadOnlyMemory<byte> bytes, string file)
    {
        var text = PolicyText.Read(bytes, file, "scenario");
        return DrillScenarioYaml.Bind(text.Root, text.Errors);
    }

    /// <summary>In the order of names; a file that is bad is left out, and said.</summary>
    public (IReadOnlyList<DrillScenario> Scenarios, IReadOnlyList<string> Bad) List()
    {
        var found = Shipped.ToDictionary(s => s.Name, StringComparer.Ordinal);
        var bad = new List<string>();
        foreach (var path in Files())
        {
            DrillScenarioBinding binding;
            try { binding = new FileInfo(path).Length > PolicyText.BytesMax ? new(null, [new(new(Path.GetFileName(path), 1, 1), "", "The file is too long.", $"At most {PolicyText.BytesMax:N0} bytes.")]) : Bind(File.ReadAllBytes(path), Path.GetFileName(path)); }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                bad.Add($"{Path.GetFileName(path)} cannot be read: {error.Message}");
                continue;
            }
            if (binding.Scenario is { } scenario)
                found[scenario.Name] = scenario;
            else
                bad.Add(string.Join(" ", binding.Errors.Take(5)));
        }
        return ([.. found.Values.OrderBy(s => s.Name, StringComparer.Ordinal)], bad);
    }

    /// <summary>Null with the reason: there is none of this name, or its file is bad.</summary>
    public (DrillScenario? Scenario, string Why) Find(string name)
    {
        var (scenarios, bad) = List();
        return scenarios.FirstOrDefault(s => s.Name == name) is { } found ? (found, "")
            : (null, $"There is no scenario '{name}'. {Nearest.Fix(name, [.. scenarios.Select(s => s.Name)])}{(bad.Count > 0 ? $" Not read: {string.Join(" ", bad)}" : "")}");
    }

    private IEnumerable<string> Files()
    {
        var folder = Path.GetDirectoryName(options?.File) is { Length: > 0 } beside ? Path.Combine(beside, "scenarios") : null;
        return folder is not null && Directory.Exists(folder)
            ? Directory.EnumerateFiles(folder).Where(f => Path.GetExtension(f) is ".yml" or ".yaml").Order(StringComparer.Ordinal).Take(FilesMax)
            : [];
    }

    private static List<DrillScenario> ReadShipped()
    {
        var assembly = Assembly.GetExecutingAssembly();
        var scenarios = new List<DrillScenario>();
        foreach (var name in assembly.GetManifestResourceNames().Where(n => n.StartsWith(Resource, StringComparison.Ordinal)).Order(StringComparer.Ordinal))
        {
            using var stream = assembly.GetManifestResourceStream(name)!;
            using var bytes = new MemoryStream();
            stream.CopyTo(bytes);
            var binding = Bind(bytes.ToArray(), name[Resource.Length..]);
            scenarios.Add(binding.Scenario ?? throw new InvalidOperationException($"The shipped scenario {name} is bad: {string.Join(" ", binding.Errors)}"));
        }
        return scenarios;
    }
}
