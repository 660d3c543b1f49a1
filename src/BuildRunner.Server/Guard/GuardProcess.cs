using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using BuildRunner.Core.Databases;
using BuildRunner.Server.Hosting.Priority;

namespace BuildRunner.Server.Guard;

/// <summary>
/// `br guard`: parent of one PostgreSQL. The main thread starts it, so that the parent-death signal lasts as long as the guard, and then
/// blocks for life; other threads answer the agent, keep the deadline and hold the lifeline.
/// </summary>
public static class GuardProcess
{
    private const long LogBytesMax = 16 * 1024 * 1024;
    private const int ConnectionsMax = 16;
    private static readonly TimeSpan LockMax = TimeSpan.FromSeconds(8); // more than one that ends may take
    private static readonly TimeSpan AnswerMax = TimeSpan.FromMilliseconds(500);

    /// <summary>Told to end and not to fence: PostgreSQL writes a last checkpoint, which its next start need not make up for.</summary>
    private static readonly GuardRequest Orderly = new() { Do = "stop", FastMs = 2000 };
    private static int _answering;

    /// <summary>Called on the process's main thread, before any await.</summary>
    public static int Run(ReadOnlySpan<string> args)
    {
        if (GuardOptions.Parse(args) is not { } options)
        {
            Console.Error.WriteLine($"br: {GuardOptions.Usage}");
            return 2;
        }
        if (!File.Exists(Path.Combine(options.Data, "PG_VERSION")) || (options.Fence is null && !Directory.Exists(options.PermitFolder)))
        {
            Console.Error.WriteLine($"br: no PostgreSQL data in {options.Data}, or no permit folder {options.PermitFolder}.");
            return 2;
        }
        return options.Fence is { } epoch ? Fence(options, epoch) : Guard(options);
    }

    /// <summary>For a server whose guard is gone: the same stop and the same fence, without a parent's knowledge.</summary>
    private static int Fence(GuardOptions options, long epoch)
    {
        var stop = new GuardStop(options);
        var answer = stop.Stop(null, new GuardRequest { Do = "stop", Epoch = epoch, Run = options.Run });
        Console.Out.WriteLine(JsonSerializer.Serialize(answer, GuardJson.Default.GuardAnswer));
        Console.Out.Flush();
        _ = stop.AwaitGone(); // as a guard does, for the next start
        return answer.Ok ? 0 : 1;
    }

    private static int Guard(GuardOptions options)
    {
        _ = GuardNative.NewSession(); // a Ctrl+C at a terminal is not for PostgreSQL
        if (options.Log is { } log)
            GuardNative.RedirectStandardStreams(log);

        if (Hold(options.Lock) is not { } single)
        {
            Console.Error.WriteLine($"br: another guard holds {options.Lock}.");
            return 1;
        }
        using var held = single;
        var lifeline = Environment.GetEnvironmentVariable("BR_LIFELINE") is { Length: > 0 } path ? Connect(path) : null;
        using var postmaster = Process.Start(Command(options)) ?? throw new InvalidOperationException("setpriv did not start.");
        var stop = new GuardStop(options);
        var deadline = new GuardDeadline(() => stop.Stop(postmaster, new GuardRequest { Do = "stop" }));
        var gate = new GuardGate(options, () => deadline.Milliseconds);

        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal => End(signal, stop, postmaster));
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => signal.Cancel = true);
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal => signal.Cancel = true);
        if (lifeline is not null)
            Background("lifeline", () => Hold(lifeline, stop, postmaster));
        using var listener = Listen(options, stop, postmaster, deadline, gate);
        using var tick = new Timer(_ => Trim(options.Log), null, TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(30));

        postmaster.WaitForExit();
        stop.Finish(postmaster); // waits for a stop under way; sweeps what a crashed postmaster left
        for (var started = Stopwatch.GetTimestamp(); Volatile.Read(ref _answering) > 0 && Stopwatch.GetElapsedTime(started) < AnswerMax;)
            Thread.Sleep(1); // who asked for the stop gets its answer
        if (!stop.AwaitGone())
            Console.Error.WriteLine($"br: processes that were killed are still being ended in {options.Data}; PostgreSQL may not start until they are gone.");
        Leave(options);
        return 0;
    }

    /// <summary>Takes away the folder in memory, unless a permit for the next start lies there already.</summary>
    private static void Leave(GuardOptions options)
    {
        try
        {
            File.Delete(options.Socket);
            if (File.Exists(options.Permit))
                return;
            Directory.Delete(options.PermitFolder, recursive: true);
            var system = Path.GetDirectoryName(options.PermitFolder)!;
            if (!Directory.EnumerateFileSystemEntries(system).Any())
                Directory.Delete(system);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { } // the agent's next start takes it away
    }

    /// <summary>One guard a data directory; a former one that is just ending is waited for.</summary>
    private static FileStream? Hold(string path)
    {
        for (var started = Stopwatch.GetTimestamp(); ; Thread.Sleep(5))
        {
            try
            {
                var held = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
                if (File.Exists(path))
                    return held;
                held.Dispose(); // the former guard took the folder away in this very moment
            }
            catch (IOException) when (Stopwatch.GetElapsedTime(started) < LockMax) { }
            catch (IOException) { return null; }
        }
    }

    private static ProcessStartInfo Command(GuardOptions options)
    {
        var postgres = options.Binaries.Length > 0 ? Path.Combine(options.Binaries, "postgres") : "postgres";
        var start = new ProcessStartInfo("setpriv") { UseShellExecute = false, WorkingDirectory = options.Data };
        start.ArgumentList.Add("--pdeathsig");
        start.ArgumentList.Add("QUIT");
        if (GuardNative.UserId() == 0)
        {
            // The signal is set after the change of user, which would clear it.
            start.ArgumentList.Add($"--reuid={options.User}");
            start.ArgumentList.Add($"--regid={options.User}");
            start.ArgumentList.Add("--init-groups");
        }
        foreach (var argument in (ReadOnlySpan<string>)["--", postgres, "-D", options.Data, "-c", $"port={options.Port}", "-c", $"listen_addresses={options.Host}", "-c", $"unix_socket_directories={options.Sockets ?? options.PermitFolder}"])
            start.ArgumentList.Add(argument);
        return start;
    }

    private static void End(PosixSignalContext signal, GuardStop stop, Process postmaster)
    {
        signal.Cancel = true; // the main thread ends when PostgreSQL has
        stop.Stop(postmaster, Orderly);
    }

    private static Socket Connect(string path)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try { socket.Connect(new UnixDomainSocketEndPoint(path)); }
        catch (SocketException error)
        {
            Console.Error.WriteLine($"br: nobody holds the lifeline {path}: {error.Message}");
            Environment.Exit(1);
        }
        return socket;
    }

    /// <summary>The other end is held by who must not be outlived; it closes with that process, however that ends.</summary>
    private static void Hold(Socket lifeline, GuardStop stop, Process postmaster)
    {
        var buffer = new byte[16];
        try
        {
            while (lifeline.Receive(buffer) > 0)
            {
            }
        }
        catch (SocketException) { } // as good as closed
        stop.Stop(postmaster, Orderly);
    }

    private static Socket Listen(GuardOptions options, GuardStop stop, Process postmaster, GuardDeadline deadline, GuardGate gate)
    {
        File.Delete(options.Socket);
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(options.Socket));
        File.SetUnixFileMode(options.Socket, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        listener.Listen(ConnectionsMax);
        // A thread each: an agent that is frozen with its line open keeps nobody else from stopping PostgreSQL. They are there beforehand: a new thread
        // takes its turn among all others of the host until it has said what it is.
        for (var place = 0; place < ConnectionsMax; place++)
            Background("connection", Accept);
        return listener;

        void Accept()
        {
            while (true)
            {
                Socket connection;
                try { connection = listener.Accept(); }
                catch (ObjectDisposedException) { return; } // the guard leaves
                catch (SocketException)
                {
                    Thread.Sleep(10); // the caller is gone again, or the process has too many files open
                    continue;
                }
                try { Serve(connection, stop, postmaster, deadline, gate); }
                catch (IOException) { } // the agent went away
            }
        }
    }

    private static void Serve(Socket connection, GuardStop stop, Process postmaster, GuardDeadline deadline, GuardGate gate)
    {
        using var stream = new NetworkStream(connection, ownsSocket: true);
        using var reader = new StreamReader(stream);
        using var writer = new StreamWriter(stream) { AutoFlush = true };

        GuardAnswer Extend(long at)
        {
            var extended = deadline.Extend(at);
            gate.Begin();
            return stop.Answer(postmaster) with { DeadlineMs = extended, Gate = gate.Connected };
        }

        while (reader.ReadLine() is { } line)
        {
            GuardAnswer answer;
            Interlocked.Increment(ref _answering);
            try
            {
                var request = JsonSerializer.Deserialize(line, GuardJson.Default.GuardRequest);
                answer = request switch
                {
                    { Do: "status" } => stop.Answer(postmaster) with { DeadlineMs = deadline.Milliseconds, Gate = gate.Connected },
                    { Do: "stop" } => stop.Stop(postmaster, request),
                    { Do: "rehearse" } => stop.Rehearse(postmaster),
                    { Do: "deadline", DeadlineMs: { } at } => Extend(at),
                    _ => stop.Answer(postmaster) with { Ok = false, Error = "status, rehearse, stop or deadline is expected" },
                };
            }
            catch (Exception error) when (error is JsonException or IOException or UnauthorizedAccessException)
            {
                answer = stop.Answer(postmaster) with { Ok = false, Error = error.Message };
            }
            try { writer.WriteLine(JsonSerializer.Serialize(answer, GuardJson.Default.GuardAnswer)); }
            finally { Interlocked.Decrement(ref _answering); }
        }
    }

    /// <summary>PostgreSQL's log is appended to; when it has grown large the older part moves aside once.</summary>
    private static void Trim(string? log)
    {
        try
        {
            if (log is null || !File.Exists(log) || new FileInfo(log).Length < LogBytesMax)
                return;
            File.Copy(log, $"{log}.1", overwrite: true);
            GuardNative.EmptyStandardError();
        }
        catch (IOException) { } // the next tick tries again
    }

    /// <summary>Never the thread that starts PostgreSQL, which would inherit the hurry.</summary>
    private static void Background(string name, Action work)
    {
        void Work()
        {
            Turns.RealTime();
            work();
        }
        new Thread(Work) { IsBackground = true, Name = name }.Start();
    }
}
