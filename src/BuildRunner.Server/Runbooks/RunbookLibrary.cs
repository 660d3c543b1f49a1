using System.Reflection;
using BuildRunner.Core.Policy;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Runbooks;

/// <summary>
/// The documents: those that this executable brings, and those of the folder `runbooks` beside the policy, which come before them. A document
/// that became bad stays in force as it last was good, and says so.
/// </summary>
internal sealed class RunbookLibrary
{
    private const int FilesMax = 200;
    private const string Resource = "runbooks/";
    public const string ShippedOrigin = "shipped";

    private static readonly Lazy<IReadOnlyList<RunbookDocument>> ShippedDocuments = new(ReadShipped);

    private readonly string? _folder;
    private readonly IReadOnlyList<RunbookDocument> _base;
    private readonly Lock _gate = new();
    private Dictionary<string, Seen> _files = new(StringComparer.Ordinal);
    private IReadOnlyDictionary<string, RunbookDocument> _current = new Dictionary<string, RunbookDocument>();

    /// <param name="folder">The user's folder; null or missing: none.</param>
    /// <param name="brought">Runbooks that a room builds in code.</param>
    public RunbookLibrary(string? folder, IEnumerable<Runbook> brought)
    {
        _folder = folder;
        _base = [.. ShippedDocuments.Value, .. brought.Select(r => new RunbookDocument { Name = r.Name, Runbook = r, Origin = "code" })];
        Look();
    }

    /// <summary>A document has changed, for the better or the worse; must not block.</summary>
    public event Action? Changed;

    /// <summary>Every document by name.</summary>
    public IReadOnlyDictionary<string, RunbookDocument> Current => Volatile.Read(ref _current);

    /// <summary>The runbook of this name that the executable brings.</summary>
    public static Runbook Shipped(string name) => ShippedDocuments.Value.First(d => d.Name == name).Runbook!;

    /// <summary>Names of all that the executable brings.</summary>
    public static IEnumerable<string> ShippedNames => ShippedDocuments.Value.Select(d => d.Name);

    /// <summary>The folder beside a policy's file.</summary>
    public static string? FolderOf(PolicyOptions? policy) => Path.GetDirectoryName(policy?.File) is { Length: > 0 } folder ? Path.Combine(folder, "runbooks") : null;

    /// <summary>Looks at the folder again; answers what changed, one sentence each.</summary>
    public IReadOnlyList<LibraryChange> Look()
    {
        var changes = Take();
        if (changes.Count > 0)
            Changed?.Invoke();
        return changes;
    }

    private IReadOnlyList<LibraryChange> Take()
    {
        lock (_gate)
        {
            var before = _current;
            var files = ReadFolder();
            var now = _base.ToDictionary(d => d.Name, StringComparer.Ordinal);
            foreach (var (path, seen) in files.OrderBy(f => f.Key, StringComparer.Ordinal))
            {
                var document = seen.Document;
                if (files.FirstOrDefault(f => f.Value.Document.Name == document.Name && string.CompareOrdinal(f.Key, path) < 0).Key is { } first)
                    document = document with { Name = $"{document.Name} ({Path.GetFileName(path)})", Runbook = null, Errors = [new(new(Path.GetFileName(path), 1, 1), "name", $"{Path.GetFileName(first)} has the runbook '{document.Name}' already.", "Give one another name.")] };
                else if (document.Runbook is null && now.TryGetValue(document.Name, out var standing))
                    document = standing with { Errors = document.Errors }; // the one that the executable brings stays
                now[document.Name] = document;
            }
            _files = files;
            Volatile.Write(ref _current, now);
            return [.. Changes(before, now)];
        }
    }

    private Dictionary<string, Seen> ReadFolder()
    {
        var found = new Dictionary<string, Seen>(StringComparer.Ordinal);
        if (_folder is null || !Directory.Exists(_folder))
            return found;
        try
        {
            foreach (var file in new DirectoryInfo(_folder).EnumerateFiles().Where(f => f.Extension is ".yml" or ".yaml" && !f.Name.StartsWith('.')).OrderBy(f => f.Name, StringComparer.Ordinal).Take(FilesMax))
            {
                var former = _files.GetValueOrDefault(file.FullName);
                if (former is not null && (former.Length, former.Written) == (file.Length, file.LastWriteTimeUtc))
                    found[file.FullName] = former;
                else if (Read(file, former) is { } seen)
                    found[file.FullName] = seen;
                else if (former is not null)
                    found[file.FullName] = former;
            }
            return found;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return _files; } // not readable now: what is in force stays
    }

    private static Seen? Read(FileInfo file, Seen? former)
    {
        byte[] bytes;
        try { bytes = file.Length > PolicyText.BytesMax ? new byte[PolicyText.BytesMax + 1] : File.ReadAllBytes(file.FullName); }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return null; }
        var binding = RunbookFile.Bind(bytes, file.Name);
        var document = binding.Runbook is { } runbook
            ? new RunbookDocument { Name = runbook.Name, Runbook = runbook, Origin = file.FullName }
            : former?.Document is { } last
                ? last with { Errors = binding.Errors }
                : new RunbookDocument { Name = binding.Name ?? Path.GetFileNameWithoutExtension(file.Name), Runbook = null, Origin = file.FullName, Errors = binding.Errors };
        return new(file.Length, file.LastWriteTimeUtc, document);
    }

    private static IEnumerable<LibraryChange> Changes(IReadOnlyDictionary<string, RunbookDocument> before, Dictionary<string, RunbookDocument> now)
    {
        foreach (var (name, document) in now)
        {
            var former = before.GetValueOrDefault(name);
            if (former is not null && former.Origin == document.Origin && former.Hash == document.Hash && former.Errors.Count == document.Errors.Count)
                continue;
            if (document.Errors.Count > 0)
                yield return new(name, Bad: true, document.Complaint!);
            else if (former is not null || document.Origin != ShippedOrigin)
                yield return new(name, Bad: false, $"Runbook '{name}' {document.Hash} from {Path.GetFileName(document.Origin)} is in force.");
        }
        foreach (var name in before.Keys.Where(n => !now.ContainsKey(n)))
            yield return new(name, Bad: false, $"Runbook '{name}' is gone: its file was removed.");
    }

    private static List<RunbookDocument> ReadShipped()
    {
        var assembly = Assembly.GetExecutingAssembly();
        var documents = new List<RunbookDocument>();
        foreach (var name in assembly.GetManifestResourceNames().Where(n => n.StartsWith(Resource, StringComparison.Ordinal)).Order(StringComparer.Ordinal))
        {
            using var stream = assembly.GetManifestResourceStream(name)!;
            using var bytes = new MemoryStream();
            stream.CopyTo(bytes);
            var binding = RunbookFile.Bind(bytes.ToArray(), name[Resource.Length..]);
            documents.Add(binding.Runbook is { } runbook
                ? new RunbookDocument { Name = runbook.Name, Runbook = runbook, Origin = ShippedOrigin }
                : throw new InvalidOperationException($"The shipped runbook {name} is bad: {string.Join(" ", binding.Errors)}"));
        }
        return documents;
    }

    private sealed record Seen(long Length, DateTime Written, RunbookDocument Document);
}

/// <summary>A runbook's document as it is in force; without a runbook it never was good.</summary>
internal sealed record RunbookDocument
{
    public required string Name { get; init; }
    public required Runbook? Runbook { get; init; }

    /// <summary>`shipped`, `code`, or the file's path.</summary>
    public required string Origin { get; init; }

    /// <summary>What is wrong with the newest text; what is in force is then an earlier one, or nothing.</summary>
    public IReadOnlyList<PolicyError> Errors { get; init; } = [];

    public string? Hash => field ??= Runbook is null ? null : RunbookCheck.Hash(Runbook);

    /// <summary>What people should know of the bad text; null: it is good.</summary>
    public string? Complaint => Errors.Count == 0 ? null
        : $"The text has {(Errors.Count == 1 ? "an error" : $"{Errors.Count} errors")}; {(Runbook is null ? "it cannot be run" : $"version {Hash}{(Origin == RunbookLibrary.ShippedOrigin ? " as shipped" : "")} stays in force")}. {string.Join(" ", Errors.Take(5))}";
}

internal sealed record LibraryChange(string Name, bool Bad, string Sentence);
