using System.Runtime.CompilerServices;
using System.Security.Claims;
using System.Text.Json;
using BuildRunner.Client.Runbooks;
using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Hosting;
using BuildRunner.Server.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace BuildRunner.Server.Runbooks;

/// <summary>The room's part of the public API.</summary>
public static partial class RunbooksRoom
{
    private const int PageSize = 500;
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(1);

    public static IEndpointRouteBuilder MapRunbooks(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/runbooks", (RunbookCatalog catalog, TimeProvider time) => TypedResults.Json(new RunbookList
        {
            Runbooks = [.. catalog.Documents.Select(d => Summary(d, catalog, time.GetUtcNow()))],
        }, RunbooksJson.Default.RunbookList)).RequireAuthorization("viewer");
        routes.MapGet("/v1/runbooks/{name}", Show).RequireAuthorization("viewer");
        routes.MapPost("/v1/runbooks/evaluate", EvaluateAsync).RequireAuthorization("viewer");
        routes.MapPost("/v1/runs", StartAsync).RequireAuthorization("operator");
        routes.MapGet("/v1/runs", async (RunRecords records, CancellationToken cancel) =>
            TypedResults.Json(new RunList { Runs = await records.ListAsync(cancel) }, RunbooksJson.Default.RunList)).RequireAuthorization("viewer");
        routes.MapGet("/v1/runs/{id}", async (string id, RunRecords records, CancellationToken cancel) => await records.GetAsync(id, cancel) is { } run
            ? TypedResults.Json(new RunDetail { Run = run }, RunbooksJson.Default.RunDetail)
            : NoSuchRun(id)).RequireAuthorization("viewer");
        routes.MapGet("/v1/runs/{id}/events", EventsAsync).RequireAuthorization("viewer");
        routes.MapPost("/v1/runs/{id}/abort", AbortAsync).RequireAuthorization("operator");
        // Who may answer is said by the step: a runbook may ask viewers to agree.
        routes.MapPost("/v1/runs/{id}/approve", (HttpContext http, string id, RunnerLoop runner, RunRecords records, TimeProvider time, CancellationToken cancel) =>
            ReplyAsync(http, id, runner, records, (state, ask) => RunReply.Approve(state, ask.Step, Actor(http), Role(http), ask.Note, time.GetUtcNow()), cancel)).RequireAuthorization("viewer");
        routes.MapPost("/v1/runs/{id}/reject", (HttpContext http, string id, RunnerLoop runner, RunRecords records, TimeProvider time, CancellationToken cancel) =>
            ReplyAsync(http, id, runner, records, (state, ask) => RunReply.Reject(state, ask.Step, Actor(http), Role(http), ask.Note, time.GetUtcNow()), cancel)).RequireAuthorization("viewer");
        routes.MapPost("/v1/runs/{id}/confirm", (HttpContext http, string id, RunnerLoop runner, RunRecords records, TimeProvider time, CancellationToken cancel) =>
            ReplyAsync(http, id, runner, records, (state, ask) => RunReply.Confirm(state, ask.Step, Actor(http), Role(http), ask.Note, time.GetUtcNow()), cancel)).RequireAuthorization("viewer");
        return routes;
    }

    private static RunbookSummary Summary(RunbookDocument document, RunbookCatalog catalog, DateTimeOffset now) => document.Runbook is { } runbook
        ? new(document.Name, runbook.Title, document.Hash, runbook.Steps.Count, runbook.Reviewed, document.Origin, catalog.Problems(runbook), RunbookCatalog.Warnings(document, now))
        : new(document.Name, "", null, 0, null, document.Origin, [document.Complaint ?? "It cannot be read."], []);

    private static IResult Show(string name, RunbookCatalog catalog, TimeProvider time) => catalog.Find(name) is { } entry
        ? TypedResults.Json(new RunbookDetail
        {
            Runbook = entry.Runbook, Hash = RunbookCheck.Hash(entry.Runbook), Origin = entry.Document.Origin,
            Problems = catalog.Problems(entry.Runbook), Warnings = RunbookCatalog.Warnings(entry.Document, time.GetUtcNow()),
        }, RunbooksJson.Default.RunbookDetail)
        : NoSuchRunbook(name, catalog);

    private static async Task<IResult> EvaluateAsync(HttpContext http, RunbookCatalog catalog, RunChecks checks, CancellationToken cancel)
    {
        if (await ReadAsync(http, RunbooksJson.Default.EvaluateRequest, cancel) is not { } request)
            return Problems.Invalid("runbooks.bad-request", "The body is no request for an evaluation.");
        if (request.Runbook is { } name && catalog.Document(name) is null)
            return NoSuchRunbook(name, catalog);
        var evaluations = new List<RunbookEvaluation>();
        foreach (var document in catalog.Documents.Where(d => request.Runbook is null || d.Name == request.Runbook))
            evaluations.Add(await checks.EvaluateAsync(document, request.Inputs, Actor(http), cancel));
        return TypedResults.Json(new EvaluationList { Evaluations = evaluations }, RunbooksJson.Default.EvaluationList);
    }

    private static async Task<IResult> ReplyAsync(HttpContext http, string id, RunnerLoop runner, RunRecords records, Func<RunState, ReplyRequest, RunReply> answer, CancellationToken cancel)
    {
        if (await ReadAsync(http, RunbooksJson.Default.ReplyRequest, cancel) is not { } request)
            return Problems.Invalid("runbooks.bad-request", "The body is no answer to a run.");
        if (await records.GetAsync(id, cancel) is null)
            return NoSuchRun(id);
        var reply = await runner.ReplyAsync(id, state => answer(state, request), cancel);
        if (reply is { Problem: { } problem, NotPermitted: true })
            return Problems.NotPermitted("runbooks.not-permitted", problem, "Somebody of that role must answer.");
        if (reply.Problem is { } no)
            return Problems.Refused("runbooks.cannot-answer", no, $"`br runbook status {id}` shows what it waits for.");
        return TypedResults.Json(new RunDetail { Run = (await records.GetAsync(id, cancel))! }, RunbooksJson.Default.RunDetail);
    }

    private static async Task<IResult> StartAsync(HttpContext http, RunDesk desk, CancellationToken cancel)
    {
        if (await ReadAsync(http, RunbooksJson.Default.RunRequest, cancel) is not { } request)
            return Problems.Invalid("runbooks.bad-request", "The body is no request for a run.");
        return await desk.AskAsync(request, Actor(http), automatic: false, cancel) switch
        {
            RunDecision.Begun begun => TypedResults.Json(new RunAnswer { Run = begun.Run }, RunbooksJson.Default.RunAnswer, statusCode: 201),
            RunDecision.Planned planned => TypedResults.Json(new RunAnswer { Plan = planned.Plan }, RunbooksJson.Default.RunAnswer),
            RunDecision.Refused refused => Problems.Refused("runbooks.refused", $"The run of '{request.Runbook}' is refused.", "Nothing was changed.", refused.Reasons),
            RunDecision.Invalid invalid => Problems.Invalid("runbooks.bad-inputs", $"The run of '{request.Runbook}' cannot begin like this.", null, invalid.Errors),
            RunDecision.Unknown unknown => Problems.NotFound("runbooks.no-such-runbook", unknown.Reason),
            RunDecision.NoLead away => Problems.Unavailable("runbooks.no-lead", away.Reason),
            _ => throw new InvalidOperationException("A request for a run ended in no known way."),
        };
    }

    private static async Task<IResult> AbortAsync(HttpContext http, string id, RunnerLoop runner, RunRecords records, CancellationToken cancel)
    {
        var request = await ReadAsync(http, RunbooksJson.Default.AbortRequest, cancel);
        if (await records.GetAsync(id, cancel) is null)
            return NoSuchRun(id);
        if (await runner.AbortAsync(id, Actor(http), request?.Reason, cancel) is { } no)
            return Problems.Refused("runbooks.cannot-abort", no, $"`br runbook status {id}` shows where it stands.");
        return TypedResults.Json(new RunDetail { Run = (await records.GetAsync(id, cancel))! }, RunbooksJson.Default.RunDetail);
    }

    /// <summary>The journal as lines of JSON from a position on; with follow, on until the run has ended.</summary>
    private static async Task EventsAsync(HttpContext http, string id, IStore store, RunNotes notes, RunRecords records, TimeProvider time, long after = 0, bool follow = false)
    {
        var cancel = http.RequestAborted;
        if (await records.GetAsync(id, cancel) is null)
        {
            await NoSuchRun(id).ExecuteAsync(http);
            return;
        }
        http.Response.ContentType = "application/x-ndjson";
        await http.Response.Body.FlushAsync(cancel);
        await foreach (var line in LinesAsync(id, after, follow, store, notes, time, cancel))
        {
            if (line is not null)
                await http.Response.Body.WriteAsync(JsonSerializer.SerializeToUtf8Bytes(line, RunbooksJson.Default.RunLine), cancel);
            await http.Response.Body.WriteAsync("\n"u8.ToArray(), cancel);
            await http.Response.Body.FlushAsync(cancel);
        }
    }

    /// <summary>Null: nothing new for a beat, so that a reader sees that the line is alive.</summary>
    internal static async IAsyncEnumerable<RunLine?> LinesAsync(string id, long after, bool follow, IStore store, RunNotes notes, TimeProvider time, [EnumeratorCancellation] CancellationToken cancel)
    {
        var log = RunJournal.LogOf(id);
        var noted = notes.After(id, long.MaxValue).Next; // only what is said from now on
        var signal = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void Wake() => Volatile.Read(ref signal).TrySetResult();
        void Noted(string run)
        {
            if (run == id)
                Wake();
        }
        using var watch = store.Watch(log, _ => Wake());
        notes.Noted += Noted;
        try
        {
            while (true)
            {
                var waiting = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                Volatile.Write(ref signal, waiting);
                var quiet = true;
                var page = await store.ReadAsync(log, after, PageSize, cancel);
                foreach (var record in page)
                {
                    after = record.Position;
                    quiet = false;
                    var happened = Journal.Read(record.Value.Span);
                    yield return new RunLine { Position = record.Position, Event = happened };
                    if (happened is RunEvent.RunFinished)
                        yield break;
                }
                if (page.Count == PageSize)
                    continue;
                if (!follow)
                    yield break;
                var (said, next) = notes.After(id, noted);
                noted = next;
                foreach (var note in said)
                {
                    quiet = false;
                    yield return new RunLine { Note = note };
                }
                if (!quiet)
                    continue;
                try { await waiting.Task.WaitAsync(Beat, time, cancel); }
                catch (TimeoutException) { } // a beat without news
                if (!waiting.Task.IsCompleted)
                    yield return null;
            }
        }
        finally { notes.Noted -= Noted; }
    }

    private static async Task<T?> ReadAsync<T>(HttpContext http, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, CancellationToken cancel) where T : class
    {
        try { return await JsonSerializer.DeserializeAsync(http.Request.Body, type, cancel); }
        catch (JsonException) { return null; }
    }

    private static string Actor(HttpContext http) => http.User.Identity?.Name is { Length: > 0 } name ? name : "operator";

    private static string Role(HttpContext http) => http.User.FindFirst(ClaimTypes.Role)?.Value ?? "";

    private static IResult NoSuchRunbook(string name, RunbookCatalog catalog) => catalog.Document(name)?.Complaint is { } bad
        ? Problems.NotFound("runbooks.bad-runbook", $"The runbook '{name}' cannot be read.", bad)
        : Problems.NotFound("runbooks.no-such-runbook", $"There is no runbook '{name}'.", $"{Core.Policy.Nearest.Fix(name, [.. catalog.Names])} `br runbook list` shows them.");

    private static IResult NoSuchRun(string id) => Problems.NotFound("runbooks.no-such-run", $"There is no run '{id}'.", "`br runbook status` shows them.");
}
