using System.CommandLine;
using System.Runtime.InteropServices;
using BuildRunner.Bench;
using BuildRunner.Tests.Support;

var runs = new Option<int?>("--runs") { Description = "Runs of each case (default: 10 of a planned move, 5 of a lost host, 3 with stalled copies)" };
var quick = new Option<bool>("--quick") { Description = "One run of each case" };
var only = new Option<string?>("--only") { Description = "`peer` or `ours`" };
only.AcceptOnlyFromAmong("peer", "ours");
var cases = new Option<string[]>("--case") { Description = "A case; may be given more than once (default: all)" };
cases.AcceptOnlyFromAmong([.. Enum.GetValues<RecoveryCase>().Select(BenchPlan.NameOf)]);
var settings = new Option<string[]>("--settings") { Description = "Settings; may be given more than once (default: all)" };
settings.AcceptOnlyFromAmong([.. BenchPlan.Settings]);
var output = new Option<string>("--output") { Description = "table or json", DefaultValueFactory = _ => "table" };
output.AcceptOnlyFromAmong("table", "json");
var json = new Option<string>("--json") { Description = "File that gets the results as JSON, after every run", DefaultValueFactory = _ => Path.Combine(Repository.Root, "artifacts/bench/recovery.json") };

var root = new RootCommand("Loses and moves the primary of Patroni and of BuildRunner while a client writes every 20 ms, and tells how long writes stood still and what was lost.") { runs, quick, only, cases, settings, output, json };
root.SetAction(async (parse, _) =>
{
    var groups = BenchPlan.Make(parse.GetValue(only), parse.GetValue(cases) ?? [], parse.GetValue(settings) ?? [], parse.GetValue(quick) ? 1 : parse.GetValue(runs));
    if (groups.Count == 0 || parse.GetValue(runs) < 1)
    {
        Console.Error.WriteLine("bench/recovery: nothing to measure: no settings of that system have that case; see `bench/recovery --help`.");
        return 2;
    }
    using var stop = new CancellationTokenSource();
    void Stop(PosixSignalContext context)
    {
        context.Cancel = true; // what was started is ended first
        stop.Cancel();
    }
    using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
    using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    using var hungUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);
    var file = Path.GetFullPath(parse.GetValue(json)!);
    Directory.CreateDirectory(Path.GetDirectoryName(file)!);
    try
    {
        var report = await new RecoveryBench(groups, file).RunAsync(stop.Token);
        Console.Out.WriteLine(parse.GetValue(output) == "json" ? report.ToJson() : report.ToText());
        Console.Error.WriteLine($"bench/recovery: the same as JSON is in {file}");
        return stop.IsCancellationRequested ? 130 : report.Complete ? 0 : 1;
    }
    catch (BenchException error)
    {
        Console.Error.WriteLine($"bench/recovery: {error.Message}");
        return 1;
    }
});
var parsed = root.Parse(args);
if (parsed.Errors.Count == 0)
    return await parsed.InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null });
foreach (var error in parsed.Errors)
    Console.Error.WriteLine($"bench/recovery: {error.Message}");
return 2;
