using System.Xml.Linq;
using BuildRunner.Core.Routing;
using BuildRunner.Server.Storage;
using Mono.Cecil;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Architecture;

/// <summary>The rules of the house that a compiler does not know. Each has a test that shows it can fail.</summary>
[Trait("Category", "unit")]
public class HouseTests
{
    private const int LinesMax = 500;

    private static string Root { get; } = Repository.Root;

    [Theory]
    [MemberData(nameof(Projects))]
    public void Project_References_OnlyTheLayersBelow(string project)
    {
        var (name, references) = Read(project);
        Assert.True(RoomMap.Layers.TryGetValue(name, out var allowed), $"{name} is no layer of the map: add a row to RoomMap.Layers.");
        Assert.Empty(references.Except(allowed!));
    }

    [Fact]
    public void Core_UsesNoPackage()
    {
        var packages = XDocument.Load(Path.Combine(Root, "src/BuildRunner.Core/BuildRunner.Core.csproj"))
            .Descendants("PackageReference").Where(p => p.Attribute("PrivateAssets")?.Value != "all").Select(p => p.Attribute("Include")?.Value);
        Assert.Empty(packages);
    }

    [Fact]
    public void Server_EachRoom_UsesOnlyRoomsOfTheRowsAbove()
    {
        using var module = ModuleDefinition.ReadModule(typeof(IStore).Assembly.Location);
        Assert.Empty(RoomReader.Violations(module, "BuildRunner.Server", RoomMap.Server));
    }

    [Fact]
    public void Core_EachRoom_UsesOnlyRoomsOfTheRowsAbove()
    {
        using var module = ModuleDefinition.ReadModule(typeof(RoutingTable).Assembly.Location);
        Assert.Empty(RoomReader.Violations(module, "BuildRunner.Core", RoomMap.Core));
    }

    [Fact]
    public void Server_ReadsItsOwnEdges()
    {
        // A reader that found nothing would pass everything: rooms do use Hosting, and it must be seen.
        using var module = ModuleDefinition.ReadModule(typeof(IStore).Assembly.Location);
        Assert.Contains(RoomReader.Edges(module, "BuildRunner.Server"), edge => edge.To is "Policy" or "Storage" or "Hosting");
    }

    [Theory]
    [InlineData("Storage", "Gateway", true)]
    [InlineData("Hosting", "Policy", true)]
    [InlineData("Gateway", "Recovery", true)]
    [InlineData("Gateway", "Hosting", false)]
    [InlineData("Recovery", "Runbooks", false)]
    [InlineData("Gateway", "Caching.Tier", false)]
    [InlineData("Gateway", "Caching", true)]
    [InlineData("Kitchen", "Storage", true)]
    public void Violations_PlantedEdge_IsFoundWhenTheMapForbidsIt(string from, string to, bool forbidden)
    {
        using var module = Planted($"BuildRunner.Server.{from}", $"BuildRunner.Server.{to}");
        Assert.Equal(forbidden, RoomReader.Violations(module, "BuildRunner.Server", RoomMap.Server).Count > 0);
    }

    [Theory]
    [InlineData("src")]
    [InlineData("samples")]
    public void Sources_AreShort(string folder)
    {
        var long_ = Directory.EnumerateFiles(Path.Combine(Root, folder), "*.*", SearchOption.AllDirectories)
            .Where(f => Path.GetExtension(f) is ".cs" or ".razor")
            .Select(f => (File: Path.GetRelativePath(Root, f), Lines: File.ReadLines(f).Count()))
            .Where(f => f.Lines >= LinesMax);
        Assert.Empty(long_);
    }

    [Fact]
    public void Server_EachRoom_SaysWhatItIsFor()
    {
        var silent = Directory.EnumerateDirectories(Path.Combine(Root, "src/BuildRunner.Server"))
            .Where(room => !File.Exists(Path.Combine(room, "README.md")))
            .Select(Path.GetFileName);
        Assert.Empty(silent);
    }

    [Fact]
    public void Folders_BearTheRoomsNames()
    {
        var rooms = RoomMap.Server.Keys.Concat(RoomMap.Core.Keys).ToHashSet();
        var strangers = new[] { "src/BuildRunner.Core", "src/BuildRunner.Client", "src/BuildRunner.Server" }
            .SelectMany(layer => Directory.EnumerateDirectories(Path.Combine(Root, layer)))
            .Where(folder => !rooms.Contains(Path.GetFileName(folder)))
            .Select(folder => Path.GetRelativePath(Root, folder));
        Assert.Empty(strangers);
    }

    public static TheoryData<string> Projects() =>
        [.. new[] { "src", "samples" }.SelectMany(f => Directory.EnumerateFiles(Path.Combine(Root, f), "*.csproj", SearchOption.AllDirectories)).Select(f => Path.GetRelativePath(Root, f))];

    private static (string Name, IEnumerable<string> References) Read(string project) => (
        Path.GetFileNameWithoutExtension(project),
        XDocument.Load(Path.Combine(Root, project)).Descendants("ProjectReference").Select(r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value)));

    /// <summary>An assembly with one type in each of two rooms, the first of which calls the second.</summary>
    private static ModuleDefinition Planted(string from, string to)
    {
        var module = ModuleDefinition.CreateModule("planted", ModuleKind.Dll);
        var called = new TypeDefinition(to, "Called", TypeAttributes.Class, module.TypeSystem.Object);
        var method = new MethodDefinition("Do", MethodAttributes.Static | MethodAttributes.Public, module.TypeSystem.Void);
        method.Body.GetILProcessor().Emit(Mono.Cecil.Cil.OpCodes.Ret);
        called.Methods.Add(method);
        var caller = new TypeDefinition(from, "Caller", TypeAttributes.Class, module.TypeSystem.Object);
        var calls = new MethodDefinition("Go", MethodAttributes.Static | MethodAttributes.Public, module.TypeSystem.Void);
        calls.Body.GetILProcessor().Emit(Mono.Cecil.Cil.OpCodes.Call, method);
        calls.Body.GetILProcessor().Emit(Mono.Cecil.Cil.OpCodes.Ret);
        caller.Methods.Add(calls);
        module.Types.Add(called);
        module.Types.Add(caller);
        return module;
    }
}
