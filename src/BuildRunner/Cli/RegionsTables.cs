using BuildRunner.Client.Regions;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Regions;
using BuildRunner.Core.Runbooks;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>Regions as tables.</summary>
internal static class RegionsTables
{
    public static void List(IAnsiConsole console, RegionsAnswer answer)
    {
        var table = Table("Region", "Name", "Role", "Health", "Since", $"Latency from {answer.From}", "Lag", "Weight", "Gateway");
        foreach (var region in answer.Regions)
            table.AddRow(new Markup(Markup.Escape(region.Code)), Cell(region.Name), Role(region), Mark(region.Health), Cell(Words.Of(answer.At - region.Since)), Cell(Latency(region)), Cell(Lag(region)), Cell(Share(region)), Cell(region.Endpoint));
        console.Write(table);
    }

    public static void Health(IAnsiConsole console, RegionsAnswer answer)
    {
        if (answer.Regions.Count > 0)
        {
            var table = Table("Region", "Role", "Health", "Since", "Latency", "Lag", "Services");
            foreach (var region in answer.Regions)
                table.AddRow(Cell(region.Code), Role(region), Mark(region.Health), Cell(Words.Of(answer.At - region.Since)), Cell(Latency(region)), Cell(Lag(region)), new Markup(Services(region)));
            console.Write(table);
        }
        console.WriteLine(answer.Verdict);
        foreach (var region in answer.Regions.Where(r => r.Health != HealthState.Healthy))
            console.WriteLine($"  {region.Code}: {region.Reason}   `br regions show {region.Code}`");
    }

    public static void Show(IAnsiConsole console, RegionAnswer answer)
    {
        var region = answer.Region;
        var grid = new Grid().AddColumn(new GridColumn().NoWrap().PadRight(2)).AddColumn();
        grid.AddRow(new Text("Region"), new Markup($"[bold]{Markup.Escape(region.Code)}[/]  {Markup.Escape(region.Name)}"));
        grid.AddRow(new Text("Health"), new Markup($"{MarkText(region.Health)} for {Words.Of(answer.At - region.Since)}{(region.Reason.Length > 0 ? $": {Markup.Escape(region.Reason)}" : "")}"));
        grid.AddRow(Cell("Role"), Role(region));
        grid.AddRow(Cell("Gateway"), Cell(region.Endpoint));
        grid.AddRow(Cell("Latency"), Cell($"{Latency(region)} from {answer.From}"));
        grid.AddRow(Cell("Traffic"), Cell(Share(region)));
        grid.AddRow(Cell("Place"), Cell(string.Create(CultureInfo.InvariantCulture, $"{region.Coordinates.Latitude:0.00}, {region.Coordinates.Longitude:0.00}")));
        if (region.Replication is { } copy)
            grid.AddRow(Cell("Database"), Cell($"{copy.State}{(copy.Following is { } of ? $" of {of}" : "")}, timeline {Known(copy.Timeline)}, at {copy.Lsn ?? "unknown"}, lag {Lag(region)}, epoch {Known(copy.Epoch)}"));
        console.Write(grid);
        var services = Table("Service", "Health", "Instances", "Observers up/down/unsure", "Failed checks", "Why");
        foreach (var service in region.Services)
        {
            services.AddRow(Cell(service.Service), Mark(service.Health), Cell(service.Instances?.ToString(CultureInfo.InvariantCulture) ?? ""),
                Cell(service.Service == HealthVerdicts.Database ? "its agent" : $"{service.ObserversUp}/{service.ObserversDown}/{service.ObserversUnsure}"),
                Cell(service.CheckFailures.ToString(CultureInfo.InvariantCulture)), Cell(service.Reason));
        }
        console.Write(services);
        console.WriteLine(region.Evidence.Count == 0 ? "Nobody has anything to say against it." : "What observers say:");
        foreach (var line in region.Evidence)
            console.WriteLine($"  {line}");
    }

    public static void Plan(IAnsiConsole console, RunPlan plan)
    {
        foreach (var step in plan.Steps)
            console.WriteLine($"  {step.Title}{(step.Note is { } note ? $": {note}" : "")} (about {step.ExpectedMs:0} ms)");
        foreach (var note in plan.Notes)
            console.MarkupLineInterpolated($"  [yellow]![/] {note}");
        foreach (var problem in plan.Problems)
            console.MarkupLineInterpolated($"  [red]✖[/] {problem}");
        console.WriteLine(plan.Ready ? "Nothing stands against it; nothing was changed." : "It would be refused; nothing was changed.");
    }

    public static void Ended(IAnsiConsole console, RunRecord run)
    {
        foreach (var step in run.Steps)
            console.WriteLine($"  {(step.Status == StepStatus.Done ? "✔" : "✖")} {step.Title}{(step.Error is { } error ? $": {error}" : "")}");
        console.WriteLine(run.State == RunPhase.Succeeded ? $"Done in {run.DurationMs:0} ms ({run.Id})." : $"{run.Outcome ?? "It failed."} See `br runbook status {run.Id}`.");
    }

    /// <summary>Codes for completion: as a gateway of this machine last knew them.</summary>
    public static IEnumerable<string> KnownCodes()
    {
        try { return SavedTable.Find(CliEndpoints.Find(null, null).Folder)?.Table.Regions.Select(r => r.Code) ?? []; }
        catch (Exception error) when (error is CliException or IOException or UnauthorizedAccessException) { return []; } // a completion that cannot know stays silent
    }

    private static Table Table(params string[] columns)
    {
        var table = new Table { Border = TableBorder.Simple };
        foreach (var column in columns)
            table.AddColumn(new TableColumn(new Text(column, new Style(decoration: Decoration.Bold))).NoWrap());
        table.Columns[^1].NoWrap = false;
        return table;
    }

    private static Text Cell(string text) => new(text);

    private static Markup Role(RegionItem region) => new(region.Role == region.PolicyRole ? Words.Of(region.Role) : $"[bold]{Words.Of(region.Role)}[/] [grey](policy: {Words.Of(region.PolicyRole)})[/]");

    private static Markup Mark(HealthState health) => new(MarkText(health));

    private static string MarkText(HealthState health) => $"[{health switch { HealthState.Healthy => "green", HealthState.Degraded => "yellow", HealthState.Draining => "aqua", HealthState.Unhealthy => "red", _ => "fuchsia" }}]{StatusText.Mark(health)} {Words.Of(health)}[/]";

    private static string Services(RegionItem region) => string.Join(" ", region.Services.Select(s => s.Health == HealthState.Healthy
        ? Markup.Escape(s.Service)
        : $"[{(s.Health == HealthState.Unhealthy ? "red" : "yellow")}]{StatusText.Mark(s.Health)} {Markup.Escape(s.Service)}[/]"));

    private static string Latency(RegionItem region) => region.LatencyMs is { } ms ? string.Create(CultureInfo.InvariantCulture, $"{ms:0.#} ms") : "unknown";

    private static string Lag(RegionItem region) => region.Replication switch
    {
        null => "no database",
        { State: "primary" or "sealed" } => "writes here",
        { LagSeconds: { } seconds, LagBytes: var bytes } => string.Create(CultureInfo.InvariantCulture, $"{seconds:0.0} s{(bytes is { } b ? $", {Words.Bytes(b)}" : "")}"),
        { LagBytes: { } bytes } => Words.Bytes(bytes),
        _ => "unknown",
    };

    private static string Share(RegionItem region) => region.Draining ? "draining" : $"{region.Weight.ToString(CultureInfo.InvariantCulture)}%";

    private static string Known<T>(T? value) where T : struct => value?.ToString() ?? "unknown";
}
