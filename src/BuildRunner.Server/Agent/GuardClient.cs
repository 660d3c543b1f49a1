using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;
using BuildRunner.Core.Databases;

namespace BuildRunner.Server.Agent;

/// <summary>The agent's line to the guard of its PostgreSQL. The guard outlives an agent; the next agent finds it by its socket.</summary>
internal sealed class GuardClient(AgentOptions options, PostgresHome home)
{
    private static readonly TimeSpan AnswerMax = TimeSpan.FromSeconds(2);

    /// <summary>More than a guard may take that waits for what it killed.</summary>
    private static readonly TimeSpan EndMax = TimeSpan.FromSeconds(7);

    /// <summary>What the guard says; null when there is none.</summary>
    public Task<GuardAnswer?> StatusAsync(CancellationToken cancel) => AskAsync(new GuardRequest { Do = "status" }, AnswerMax, cancel);

    /// <summary>Has the guard go through what a stop does, without effect, so that the stop finds its code and the kernel's tables warm.</summary>
    public Task<GuardAnswer?> RehearseAsync(CancellationToken cancel) => AskAsync(new GuardRequest { Do = "rehearse" }, AnswerMax, cancel);

    /// <summary>Moves the deadline, which only grows; null: there is no guard.</summary>
    public Task<GuardAnswer?> ExtendAsync(long deadlineMs, CancellationToken cancel) => AskAsync(new GuardRequest { Do = "deadline", DeadlineMs = deadlineMs }, AnswerMax, cancel);

    /// <summary>An ordinary stop that leaves no fence.</summary>
    public async Task StopAsync(TimeSpan fast, CancellationToken cancel)
    {
        if (await AskAsync(new GuardRequest { Do = "stop", FastMs = (int)fast.TotalMilliseconds }, fast + TimeSpan.FromSeconds(8), cancel) is { Ok: false } refused)
            throw new InvalidOperationException($"PostgreSQL was not stopped: {refused.Error}");
    }

    /// <summary>Waits for the end of a guard that was told to stop: it takes its folder away, and a permit written before that would go with it.</summary>
    public async Task GoneAsync(CancellationToken cancel)
    {
        if (_alone is { } alone)
        {
            await alone.WaitForExitAsync(cancel).WaitAsync(EndMax, cancel); // past it the caller's next pass asks again
            alone.Dispose();
            _alone = null;
        }
        if (!_leaving)
            return;
        var started = Stopwatch.GetTimestamp();
        using var pace = new PeriodicTimer(TimeSpan.FromMilliseconds(5));
        while (_guard is null ? home.HasData && Directory.Exists(home.PermitFolder()) : !_guard.HasExited)
        {
            if (Stopwatch.GetElapsedTime(started) > EndMax)
                throw new InvalidOperationException($"The guard of the PostgreSQL that was stopped has not ended after {EndMax.TotalSeconds:F0} s: some of its processes are still there.");
            await pace.WaitForNextTickAsync(cancel);
        }
        _leaving = false;
    }

    private string Socket => Path.Combine(home.PermitFolder(), "guard.sock");

    /// <summary>Ends PostgreSQL for good at an epoch; without a guard the same program does it as a process of its own.</summary>
    public async Task<GuardAnswer> FenceAsync(long epoch, string run, CancellationToken cancel)
    {
        var answer = await AskAsync(new GuardRequest { Do = "stop", Epoch = epoch, Run = run }, TimeSpan.FromSeconds(8), cancel)
            ?? await FenceAloneAsync(epoch, run, cancel);
        return answer is { Ok: true, Left: 0, Fence: not null } ? answer : throw new InvalidOperationException($"The fence was not proven: {answer.Error ?? "no fence was written"}");
    }

    /// <summary>Starts the guard, and PostgreSQL under it. It is not our child for long: it makes a session of its own and stays when we go.</summary>
    public void Start(string permitFolder, PostgresDoors doors)
    {
        var start = new ProcessStartInfo(options.Executable) { UseShellExecute = false };
        foreach (var argument in (ReadOnlySpan<string>)
            ["guard", "--data", home.Data, "--permit-dir", permitFolder, "--port", options.DatabasePort.ToString(CultureInfo.InvariantCulture), "--host", doors.Listen, "--sockets", doors.Sockets(permitFolder), "--log", home.Log, .. options.Binaries.Length > 0 ? ["--bin", options.Binaries] : Array.Empty<string>()])
            start.ArgumentList.Add(argument);
        if (options.Lifeline is { } lifeline)
            start.Environment["BR_LIFELINE"] = lifeline;
        _guard?.Dispose();
        _guard = Process.Start(start) ?? throw new InvalidOperationException($"{options.Executable} did not start.");
    }

    private Process? _guard;
    private Process? _alone;
    private bool _leaving;

    /// <summary>True when the guard that this agent started has ended.</summary>
    public bool HasEnded => _guard is { HasExited: true };

    private async Task<GuardAnswer> FenceAloneAsync(long epoch, string run, CancellationToken cancel)
    {
        var start = new ProcessStartInfo(options.Executable) { RedirectStandardOutput = true };
        foreach (var argument in (ReadOnlySpan<string>)["guard", "--fence", epoch.ToString(CultureInfo.InvariantCulture), "--run", run, "--data", home.Data, "--permit-dir", home.PermitFolder()])
            start.ArgumentList.Add(argument);
        _alone?.Dispose();
        _alone = Process.Start(start) ?? throw new InvalidOperationException($"{options.Executable} did not start.");
        var said = await _alone.StandardOutput.ReadLineAsync(cancel) ?? throw new InvalidOperationException($"{options.Executable} guard ended without a word."); // it stays until all are gone
        return JsonSerializer.Deserialize(said, GuardJson.Default.GuardAnswer) ?? throw new JsonException("The guard answered null.");
    }

    private async Task<GuardAnswer?> AskAsync(GuardRequest request, TimeSpan timeout, CancellationToken cancel)
    {
        if (!home.HasData || home.SystemIdentifier() is null)
            return null; // none, or initdb is making it
        var socketPath = Socket;
        if (!File.Exists(socketPath))
            return null;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(timeout);
        using var socket = new System.Net.Sockets.Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try { await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), limit.Token); }
        catch (SocketException) { return null; } // the file of a guard that was killed
        await using var stream = new NetworkStream(socket);
        using var reader = new StreamReader(stream);
        try
        {
            await stream.WriteAsync(JsonSerializer.SerializeToUtf8Bytes(request, GuardJson.Default.GuardRequest), limit.Token);
            await stream.WriteAsync("\n"u8.ToArray(), limit.Token);
            _leaving |= request.Do == "stop";
            return await reader.ReadLineAsync(limit.Token) is { } line ? JsonSerializer.Deserialize(line, GuardJson.Default.GuardAnswer) : null;
        }
        catch (IOException) { return null; } // it ended while being asked
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return new GuardAnswer { Ok = false, Error = $"the guard did not answer within {timeout.TotalSeconds:F0} s" };
        }
    }
}
