using System.Diagnostics;
using BuildRunner.Server.Agent;
using BuildRunner.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace BuildRunner.Tests.Agent;

public sealed class LeftoversTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("br-left-").FullName;
    private readonly FakeTimeProvider _time = new(DateTimeOffset.UtcNow.AddMinutes(5));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Sweep_FolderElsewhereWhoseDataFolderIsGone_Removed()
    {
        var place = Elsewhere("buildrunner-0123", Path.Combine(_folder, "gone/postgres"));
        Sweep();
        Assert.False(Directory.Exists(place));
    }

    [Fact]
    public void Sweep_FolderElsewhereInUse_Kept()
    {
        var place = Elsewhere("buildrunner-0123", Path.Combine(_folder, "postgres"));
        File.CreateSymbolicLink(Path.Combine(_folder, "postgres"), place);
        var stranger = Directory.CreateDirectory(Path.Combine(_folder, "tmp/buildrunner-stranger")).FullName; // bears no owner
        Sweep();
        Assert.True(Directory.Exists(place) && Directory.Exists(stranger));
    }

    /// <summary>Agents of one machine start together and sweep the same folder: none fails, and nothing is left that no owner's name is in.</summary>
    [Fact]
    public void Discard_BySeveralAtOnce_LeavesNothingHalfRemoved()
    {
        for (var round = 0; round < 20; round++)
        {
            var place = Elsewhere("buildrunner-0123", Path.Combine(_folder, "gone/postgres"));
            for (var file = 0; file < 200; file++)
                File.WriteAllText(Path.Combine(Directory.CreateDirectory(Path.Combine(place, $"data/{file % 20}")).FullName, $"{file}"), "");
            var leftovers = Of();
            Parallel.For(0, 4, _ => leftovers.Discard(place));
            Assert.Empty(Directory.GetDirectories(Path.Combine(_folder, "tmp")));
        }
    }

    [Fact]
    public void Sweep_WhatAKilledAgentHasHalfRemoved_Removed()
    {
        var place = Directory.CreateDirectory(Path.Combine(_folder, "tmp/buildrunner-0123.gone-1/data")).Parent!.FullName;
        Sweep();
        Assert.False(Directory.Exists(place));
    }

    /// <summary>The path may lie on a volume that is not mounted yet.</summary>
    [Fact]
    public void Sweep_DatabaseThatNoSandboxMade_Kept()
    {
        var place = Elsewhere("buildrunner-0123", Path.Combine(_folder, "gone/postgres"));
        File.WriteAllText(Path.Combine(Directory.CreateDirectory(Path.Combine(place, "data")).FullName, "PG_VERSION"), "15");
        _time.AdjustTime(DateTimeOffset.UtcNow.AddHours(1));
        Sweep();
        Assert.True(Directory.Exists(place));
        File.WriteAllText(Path.Combine(place, Leftovers.SandboxMark), "");
        Sweep();
        Assert.False(Directory.Exists(place));
    }

    /// <summary>A sweep judged the former folder, and its owner made it anew meanwhile.</summary>
    [Fact]
    public void Discard_OfOneThatMustBeOldAndIsNew_PutsItBack()
    {
        var place = Elsewhere("buildrunner-0123", Path.Combine(_folder, "postgres"));
        _time.AdjustTime(DateTimeOffset.UtcNow);
        Of().Discard(place, mustBeOld: true);
        Assert.Equal([place], Directory.GetDirectories(Path.Combine(_folder, "tmp")));
    }

    [Fact]
    public void Sweep_FolderElsewhereJustMade_Kept()
    {
        var place = Elsewhere("buildrunner-0123", Path.Combine(_folder, "gone/postgres"));
        _time.AdjustTime(DateTimeOffset.UtcNow);
        Sweep();
        Assert.True(Directory.Exists(place));
    }

    [Fact(Timeout = 30_000)]
    public async Task Sweep_AProcessWorksInIt_Kept()
    {
        var place = Elsewhere("buildrunner-0123", Path.Combine(_folder, "gone/postgres"));
        using var worker = Process.Start(new ProcessStartInfo("cat") { WorkingDirectory = place, RedirectStandardInput = true })!;
        Sweep();
        Assert.True(Directory.Exists(place));
        worker.Kill();
        await worker.WaitForExitAsync(TestContext.Current.CancellationToken);
        await Eventually.TrueAsync(() => { Sweep(); return !Directory.Exists(place); }, "nobody works there any more", TestContext.Current.CancellationToken);
    }

    [Fact]
    public void Sweep_PermitOfAKilledGuard_Removed()
    {
        var data = Directory.CreateDirectory(Path.Combine(_folder, "data")).FullName;
        var permit = Permit("7711", data);
        Sweep(data, permit);
        Assert.False(Directory.Exists(Path.Combine(_folder, "shm/7711")));
    }

    [Fact]
    public void Sweep_PermitThatAGuardHolds_Kept()
    {
        var data = Directory.CreateDirectory(Path.Combine(_folder, "data")).FullName;
        var permit = Permit("7711", data);
        using var guard = new FileStream(Path.Combine(permit, "guard.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        Sweep(data, permit);
        Assert.True(File.Exists(Path.Combine(permit, "permit.conf")));
    }

    [Fact]
    public void Sweep_PermitsOfOthers_GoOnlyWithTheirData()
    {
        var alive = Permit("7712", Directory.CreateDirectory(Path.Combine(_folder, "other")).FullName);
        var dead = Permit("7713", Path.Combine(_folder, "gone"));
        Sweep();
        Assert.True(Directory.Exists(alive));
        Assert.False(Directory.Exists(dead));
    }

    private string Elsewhere(string name, string owner)
    {
        var place = Directory.CreateDirectory(Path.Combine(_folder, "tmp", name)).FullName;
        File.WriteAllText(Path.Combine(place, Leftovers.Owner), owner);
        return place;
    }

    private string Permit(string system, string data)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_folder, "shm", system, "us-east-1")).FullName;
        File.WriteAllText(Path.Combine(folder, Leftovers.Owner), data);
        File.WriteAllText(Path.Combine(folder, "permit.conf"), "");
        return folder;
    }

    private void Sweep(string? data = null, string? permit = null)
    {
        Directory.CreateDirectory(Path.Combine(_folder, "tmp"));
        Of().Sweep(data ?? Path.Combine(_folder, "data"), permit);
    }

    private Leftovers Of() => new(
        new AgentOptions
        {
            Region = "us-east-1",
            DataFolder = _folder,
            Server = new("http://127.0.0.1:1"),
            TokenFile = "t",
            Host = "127.0.0.1",
            PermitRoot = Path.Combine(_folder, "shm"),
            ElsewhereRoot = Path.Combine(_folder, "tmp"),
        }, _time, NullLogger<Leftovers>.Instance);
}
