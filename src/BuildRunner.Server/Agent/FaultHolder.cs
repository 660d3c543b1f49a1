using System.Diagnostics;
using System.Runtime.InteropServices;
using BuildRunner.Core.Recovery;
using BuildRunner.Server.Hosting;
using Microsoft.Win32.SafeHandles;

namespace BuildRunner.Server.Agent;

/// <summary>What a holder of a fault is told; one line of arguments of `br fault-holder`.</summary>
internal sealed record FaultHold
{
    public required FaultKind Kind { get; init; }
    public required string Region { get; init; }
    public required string Run { get; init; }
    public required TimeSpan Limit { get; init; }

    /// <summary>The agent itself is frozen or cut off.</summary>
    public bool Isolates { get; init; }

    /// <summary>Processes that are frozen or made slow, and whether all that they started is too; never the holder.</summary>
    public IReadOnlyList<int> Processes { get; init; } = [];
    public bool WithChildren { get; init; }

    /// <summary>Folder whose volume is filled.</summary>
    public string? Folder { get; init; }

    public IReadOnlyList<string> Arguments() =>
    [
        FaultHolder.Role, FaultKinds.Word(Kind), Region, Run, ((long)Limit.TotalMilliseconds).ToString(CultureInfo.InvariantCulture),
        WithChildren ? "tree" : "each", Isolates ? "late" : "now", string.Join(',', Processes), Folder ?? "",
    ];

    public static FaultHold Of(ReadOnlySpan<string> arguments) => arguments is [var kind, var region, var run, var limit, var tree, var when, var processes, var folder] && FaultKinds.TryWord<FaultKind>(kind, out var known)
        ? new()
        {
            Kind = known, Region = region, Run = run, Limit = TimeSpan.FromMilliseconds(long.Parse(limit, CultureInfo.InvariantCulture)), WithChildren = tree == "tree", Isolates = when == "late",
            Processes = [.. processes.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(p => int.Parse(p, CultureInfo.InvariantCulture))], Folder = folder.Length > 0 ? folder : null,
        }
        : throw new ArgumentException("A fault holder is started by an agent only.");
}

/// <summary>
/// `br fault-holder`: keeps one fault up, and mends it when its standard input closes (the agent lifts it, or is gone) or its time is up. What it cannot
/// mend any more when it is killed ends by the kernel's or the supervisor's own clock, and the agent thaws what it left frozen.
/// </summary>
public static class FaultHolder
{
    public const string Role = "fault-holder";
    private const int Period = 100;
    private const int StoppedOfPeriod = 80;
    private const int PeriodsPerLook = 10;

    /// <summary>So long the agent has to give its answer before it cannot any more.</summary>
    private static readonly TimeSpan AnswerMax = TimeSpan.FromMilliseconds(500);

    /// <summary>Says "held: …" or "not held: …" in its first line, and ends with 0 when everything is mended.</summary>
    public static int Run(string[] arguments)
    {
        var hold = FaultHold.Of(arguments);
        using var over = new ManualResetEventSlim();
        // A thread of its own blocks on the pipe: its end is the agent's.
        new Thread(() =>
        {
            using var input = Console.OpenStandardInput();
            while (input.ReadByte() >= 0) { }
            over.Set();
        }) { IsBackground = true }.Start();
        using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
        {
            signal.Cancel = true;
            over.Set();
        });
        try { return Hold(hold, over); }
        catch (Exception error) when (error is IOException or InvalidOperationException or HttpRequestException or UnauthorizedAccessException or System.ComponentModel.Win32Exception)
        {
            Console.Out.WriteLine($"not held: {error.Message.ReplaceLineEndings(" ")}");
            return 1;
        }
    }

    private static int Hold(FaultHold hold, ManualResetEventSlim over)
    {
        switch (hold.Kind)
        {
            case FaultKind.Freeze:
                return Freeze(hold, over);
            case FaultKind.Slow:
                return Slow(hold, over);
            case FaultKind.Partition:
                using (var network = FaultNetwork.Find())
                {
                    network.Try(hold.Limit);
                    Held("every line of this host is about to be cut, both ways, in silence");
                    if (over.Wait(AnswerMax))
                        return 0;
                    network.Cut(hold.Region, hold.Run, hold.Limit);
                    over.Wait(hold.Limit);
                    network.Connect(hold.Region, hold.Run);
                    return 0;
                }
            case FaultKind.FillDisk:
                using (Ballast(hold.Folder ?? throw new InvalidOperationException("No folder was named."), out var evidence))
                {
                    Held(evidence);
                    over.Wait(hold.Limit);
                    return 0;
                }
            default:
                throw new InvalidOperationException($"{hold.Kind} is kept by no holder.");
        }
    }

    private static void Held(string evidence)
    {
        Console.Out.WriteLine($"held: {evidence}");
        Console.Out.Flush();
    }

    private static int Freeze(FaultHold hold, ManualResetEventSlim over)
    {
        var chosen = Chosen(hold);
        // Told first: whoever waits for the line may be among those that are frozen.
        Held($"{chosen.Count} processes frozen");
        if (hold.Isolates && over.Wait(AnswerMax))
            return 0;
        foreach (var process in chosen)
            HostProcesses.Freeze(process);
        over.Wait(hold.Limit);
        foreach (var process in chosen)
            HostProcesses.Thaw(process);
        return 0;
    }

    private static int Slow(FaultHold hold, ManualResetEventSlim over)
    {
        var chosen = Chosen(hold);
        Held($"{chosen.Count} processes stopped for {StoppedOfPeriod} of every {Period} ms");
        var began = Stopwatch.GetTimestamp();
        for (var period = 1; Stopwatch.GetElapsedTime(began) < hold.Limit; period++)
        {
            foreach (var process in chosen)
                HostProcesses.Freeze(process);
            var ended = over.Wait(StoppedOfPeriod);
            foreach (var process in chosen)
                HostProcesses.Thaw(process);
            if (ended || over.Wait(Period - StoppedOfPeriod))
                break;
            if (period % PeriodsPerLook == 0)
                chosen = Chosen(hold); // sessions come and go
        }
        return 0;
    }

    private static IReadOnlyList<int> Chosen(FaultHold hold) => hold.WithChildren
        ? [.. HostProcesses.Tree(hold.Processes).Select(p => p.Id).Where(id => id != Environment.ProcessId)]
        : hold.Processes;

    /// <summary>Takes all room of the folder's volume in a file that has no name any more: when this process ends, however, the kernel gives it back.</summary>
    private static SafeFileHandle Ballast(string folder, out string evidence)
    {
        var path = Path.Combine(folder, $".ballast-{Environment.ProcessId}");
        var file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write);
        File.Delete(path);
        try
        {
            var taken = AgentNative.Fill(file);
            evidence = string.Create(CultureInfo.InvariantCulture, $"{taken / (1024 * 1024)} MiB taken in the volume of {folder}");
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}
