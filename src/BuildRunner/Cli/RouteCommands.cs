using System.CommandLine;
using BuildRunner.Client;
using BuildRunner.Client.Routing;
using BuildRunner.Core.Routing;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br route`: where a request goes and why.</summary>
internal static class RouteCommands
{
    private static readonly Option<string> Ip = new("--ip") { Description = "Address of the user, such as 81.2.69.142", Required = true };
    private static readonly Option<string> Path = new("--path") { Description = "Path of the request, such as /api/orders", Required = true };
    private static readonly Option<string> Method = new("--method") { Description = "Method of the request", DefaultValueFactory = _ => "GET" };
    private static readonly Option<string?> From = new("--from") { Description = "Region whose gateway takes the request (default: the default region's)" };
    private static readonly Option<string?> Cookie = new("--region-cookie") { Description = "Value of the user's cookie br-region" };

    public static Command Build() =>
        new("route", "Where a request goes and why (room Routing)")
        {
            new Command("explain", "Run the gateways' own choice for a request and print each reason") { Ip, Path, Method, From, Cookie }.Does(ExplainAsync),
            new Command("table", "Print the routing table that the gateways have").Does(TableAsync),
        };

    private static async Task<ExitCode> ExplainAsync(CliContext context)
    {
        var parse = context.Parse;
        var answer = await new RoutingClient(context.Api()).ExplainAsync(
            parse.GetRequiredValue(Ip), parse.GetRequiredValue(Path), parse.GetValue(Method), parse.GetValue(From), parse.GetValue(Cookie), context.Cancel);
        context.Print(answer, RoutingJson.Default.RouteExplanation, static (console, a) =>
        {
            var precision = Word(a.Precision);
            console.MarkupLineInterpolated(a.Decision switch
            {
                "send" => (FormattableString)$"[bold]{a.Region}[/] serves {a.Method} {a.Path} for {a.Ip}  (precision: {precision})",
                "hold" => $"{a.Method} {a.Path} for {a.Ip} waits, then goes to [bold]{a.Region}[/]  (precision: {precision})",
                _ => $"[bold]{a.Status}[/] {a.Problem}: {a.Method} {a.Path} for {a.Ip} is refused",
            });
            for (var i = 0; i < a.Reasons.Count; i++)
                console.MarkupLineInterpolated($"  {i + 1}. {a.Reasons[i]}");
            if (a.Instances.Count > 0)
                console.MarkupLineInterpolated($"  track {a.Track}: {string.Join(", ", a.Instances)}");
            console.MarkupLineInterpolated($"[grey]  routing table {a.TableVersion}, gateway {a.From}[/]");
        });
        return ExitCode.Fine;
    }

    private static async Task<ExitCode> TableAsync(CliContext context)
    {
        var table = await new RoutingClient(context.Api()).TableAsync(context.Cancel);
        context.Print(table, WireJson.Default.RoutingTable, static (console, t) =>
        {
            console.MarkupLineInterpolated($"routing table [bold]{t.Version}[/] of {t.At:yyyy-MM-dd HH:mm:ss} UTC{(t.MultiRegion ? "" : ", multi-region off")}");
            var regions = new Table().Border(TableBorder.Simple).AddColumns("region", "role", "health", "weight", "reads", "lag s", "instances");
            foreach (var r in t.Regions)
                regions.AddRow(r.Code, r.Role.ToString().ToLowerInvariant(), r.Draining ? "draining" : r.Health.ToString().ToLowerInvariant(), $"{r.Weight} %", r.ServesReads ? "yes" : "no", r.LagSeconds is { } lag ? lag.ToString("0.#", CultureInfo.InvariantCulture) : "-", t.Services.Sum(s => s.Instances.Count(i => i.Region == r.Code)).ToString(CultureInfo.InvariantCulture));
            console.Write(regions);
            foreach (var d in t.Databases)
                console.MarkupLineInterpolated($"database {d.Name}: epoch {d.Epoch} {d.State.ToString().ToLowerInvariant()}, primary {d.Primary}{(d.HoldId is { } hold ? $", writes held by {hold}" : d.Writable ? "" : ", takes no writes")}");
        });
        return ExitCode.Fine;
    }

    private static string Word(RoutePrecision precision) => precision.ToString().ToLowerInvariant();
}
