using BuildRunner.Core.Runbooks;

namespace BuildRunner.Server.Runbooks;

/// <summary>A runbook that can be run, its document and what its room knows of it.</summary>
internal sealed record RunbookEntry(Runbook Runbook, RunbookDocument Document, RunbookSource Source);

/// <summary>Every runbook of this server: the documents, each joined by its name with what a room knows of it.</summary>
internal sealed class RunbookCatalog
{
    private readonly RunbookLibrary _library;
    private readonly ActionRegistry _actions;
    private readonly Dictionary<string, RunbookSource> _sources;

    public RunbookCatalog(RunbookLibrary library, IEnumerable<RunbookSource> sources, ActionRegistry actions)
    {
        (_library, _actions) = (library, actions);
        _sources = sources.ToDictionary(s => s.Name, StringComparer.Ordinal);
    }

    /// <summary>Every document in the order of names, also those that cannot be run.</summary>
    public IEnumerable<RunbookDocument> Documents => _library.Current.Values.OrderBy(d => d.Name, StringComparer.Ordinal);

    public IEnumerable<string> Names => Documents.Where(d => d.Runbook is not null).Select(d => d.Name);

    public RunbookDocument? Document(string name) => _library.Current.GetValueOrDefault(name);

    /// <summary>Null: there is none of this name, or it never was good.</summary>
    public RunbookEntry? Find(string name) => Document(name) is { Runbook: { } runbook } document ? new(runbook, document, SourceOf(name)) : null;

    /// <summary>What a room knows of a runbook; also while its document is gone, for a run that goes on with the text it began with.</summary>
    public RunbookSource SourceOf(string name) => _sources.TryGetValue(name, out var source) ? source : new RunbookSource(name);

    public IReadOnlyList<string> Problems(Runbook runbook) => RunbookCheck.Errors(runbook, _actions.Knows, _actions.Names, name => Document(name)?.Runbook);

    /// <summary>What a person should know of a document: bad news of its text, and a review that is due.</summary>
    public static IReadOnlyList<string> Warnings(RunbookDocument document, DateTimeOffset now) =>
        [.. new[] { document.Runbook is { } runbook ? document.Complaint : null, document.Runbook is { } read ? RunbookCheck.Stale(read, now) : null }.OfType<string>()];
}
