using System.Text;
using System.Text.Json;
using BuildRunner.Client.Policy;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Events;
using BuildRunner.Server.Storage;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Policy;

/// <summary>
/// The applied policy is a record in the store. The server's file is an input to it: looked at again and again, taken up when it changed and is
/// good; when it is bad it is remembered as refused, and what was in force stays.
/// </summary>
internal sealed partial class PolicySource(IStore store, IEventLog events, PolicyOptions options, TimeProvider time, ILogger<PolicySource> logger) : IPolicySource, IDisposable
{
    /// <summary>A file that is being written is left alone until it has been the same for so long.</summary>
    private static readonly TimeSpan Settled = TimeSpan.FromMilliseconds(400);

    private const string FileActor = "file";
    private readonly IReadOnlyDictionary<string, string> _variables = options.Variables ?? PolicyFile.Environment();
    private readonly List<Action> _onChange = [];
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _turn = new(1, 1);
    private InForce? _inForce;
    private Freeze? _freeze;
    private (string Hash, long Since)? _seen;

    public PolicyDocument Current => Now.Document;

    public string Hash => Now.Record.Hash;

    /// <summary>The policy in force with its text and the source of each value.</summary>
    public InForce Now => Volatile.Read(ref _inForce) ?? throw new InvalidOperationException("The policy is read before the server has loaded it.");

    public Freeze? Freeze => Volatile.Read(ref _freeze) is { } freeze && freeze.Until > time.GetUtcNow() ? freeze : null;

    /// <summary>The last change that was refused; null once a good one came.</summary>
    public RejectedView? Rejected { get; private set; }

    public void Dispose() => _turn.Dispose();

    public IDisposable OnChange(Action changed)
    {
        lock (_gate)
            _onChange.Add(changed);
        return new Registration(this, changed);
    }

    /// <summary>Before anything else starts: what is in the store, or else the file. With neither good there is nothing to start with.</summary>
    public async Task LoadAsync(CancellationToken cancel)
    {
        var bytes = await ReadFileAsync(cancel);
        if (await store.GetAsync(PolicyKeys.Current, cancel) is null)
        {
            if (bytes is null)
                throw new PolicyRefusedException(options.File, [new(new(options.File, 1, 1), "", "The file cannot be read.", "Name one with --policy or BR_POLICY; governance/policy.yml is one to begin with.")]);
            if (await ApplyAsync(bytes, Path.GetFileName(options.File), FileActor, expectedHash: null, cancel) is PolicyOutcome.Refused refused)
                throw new PolicyRefusedException(options.File, refused.Errors);
            await NoteFileAsync(PolicyFile.Hash(bytes), cancel);
            await RefreshAsync(cancel);
            return;
        }
        await RefreshAsync(cancel);
        if (bytes is not null)
            await ConsiderAsync(bytes, cancel);
    }

    /// <summary>One look at the file and at the store.</summary>
    public async Task LookAsync(CancellationToken cancel)
    {
        await RefreshAsync(cancel);
        if (await ReadFileAsync(cancel) is not { } bytes)
            return; // gone or unreadable for now: what is in force stays
        var hash = PolicyFile.Hash(bytes);
        if (_seen?.Hash != hash)
            _seen = (hash, time.GetTimestamp());
        if (time.GetElapsedTime(_seen!.Value.Since) >= Settled)
            await ConsiderAsync(bytes, cancel);
    }

    /// <summary>Checks a policy and puts it in force, or says what is wrong with it.</summary>
    public async Task<PolicyOutcome> ApplyAsync(ReadOnlyMemory<byte> bytes, string file, string by, string? expectedHash, CancellationToken cancel)
    {
        var binding = PolicyFile.Bind(bytes, file, _variables);
        if (binding.Document is null)
            return new PolicyOutcome.Refused(binding.Errors);
        var hash = PolicyFile.Hash(bytes.Span);
        await _turn.WaitAsync(cancel);
        try
        {
            var current = await store.GetAsync(PolicyKeys.Current, cancel);
            var before = current is null ? null : Read(current);
            if (expectedHash is not null && before?.Hash != expectedHash)
                return new PolicyOutcome.Conflict(before?.Hash ?? "");
            if (before?.Hash == hash)
            {
                await ForgetRejectedAsync(cancel);
                return new PolicyOutcome.Applied(Changed: false);
            }
            var record = new PolicyRecord { Hash = hash, File = file, By = by, At = time.GetUtcNow(), Previous = before?.Hash };
            await store.PutAsync(PolicyKeys.Text(hash), bytes, null, null, cancel);
            var written = await store.PutAsync(PolicyKeys.Current, JsonSerializer.SerializeToUtf8Bytes(record, PolicyStoreJson.Default.PolicyRecord), current?.Version ?? 0, null, cancel);
            if (written is not StoreWrite.Done done)
                return new PolicyOutcome.Conflict("");
            if (before?.Previous is { } old && old != hash && old != before.Hash)
                await store.DeleteAsync(PolicyKeys.Text(old), null, null, cancel);
            await ForgetRejectedAsync(cancel);
            Swap(new(binding.Document.WithPortOffset(options.PortOffset), binding.Values, Encoding.UTF8.GetString(bytes.Span), record, done.Version));
            LogApplied(logger, file, hash[..12], by);
            await events.RecordAsync("policy.applied", by, $"Policy {hash[..12]} from {file} is in force.", new Dictionary<string, string>
            {
                ["hash"] = hash, ["previous"] = before?.Hash ?? "",
                ["rto_minutes"] = binding.Document.Recovery.Rto.TotalMinutes.ToString(CultureInfo.InvariantCulture), ["rpo_minutes"] = binding.Document.Recovery.Rpo.TotalMinutes.ToString(CultureInfo.InvariantCulture),
            }, cancel);
            return new PolicyOutcome.Applied(Changed: true);
        }
        finally { _turn.Release(); }
    }

    public PolicyBinding Validate(ReadOnlyMemory<byte> bytes, string file) => PolicyFile.Bind(bytes, file, _variables);

    public async Task SetFreezeAsync(Freeze freeze, CancellationToken cancel)
    {
        await store.PutAsync(PolicyKeys.Freeze, JsonSerializer.SerializeToUtf8Bytes(new FreezeRecord(1, freeze), PolicyStoreJson.Default.FreezeRecord), null, null, cancel);
        await events.RecordAsync("freeze.set", freeze.By, $"No automatic act until {freeze.Until:yyyy-MM-dd HH:mm} UTC: {freeze.Reason}", null, cancel);
        await RefreshAsync(cancel);
    }

    /// <summary>False: there was none.</summary>
    public async Task<bool> LiftFreezeAsync(string by, CancellationToken cancel)
    {
        if (await store.GetAsync(PolicyKeys.Freeze, cancel) is not { } entry || await store.DeleteAsync(PolicyKeys.Freeze, entry.Version, null, cancel) is not StoreWrite.Done)
            return false;
        await events.RecordAsync("freeze.lifted", by, "Automatic acts go on.", null, cancel);
        await RefreshAsync(cancel);
        return true;
    }

    /// <summary>Takes what the store says: another server, or a request, may have changed it.</summary>
    private async Task RefreshAsync(CancellationToken cancel)
    {
        if (await store.GetAsync(PolicyKeys.Current, cancel) is { } entry && Volatile.Read(ref _inForce)?.Version != entry.Version)
        {
            var record = Read(entry);
            var text = await store.GetAsync(PolicyKeys.Text(record.Hash), cancel) ?? throw new InvalidOperationException($"The text of policy {record.Hash} is not in the store.");
            var binding = PolicyFile.Bind(text.Value, record.File, _variables);
            if (binding.Document is not null)
                Swap(new(binding.Document.WithPortOffset(options.PortOffset), binding.Values, Encoding.UTF8.GetString(text.Value.Span), record, entry.Version));
            else if (_inForce is null)
                throw new PolicyRefusedException(record.File, binding.Errors); // this process's environment, or an older store than this version reads
            else
                LogUnreadable(logger, record.Hash, binding.Errors.Count);
        }
        var rejected = await store.GetAsync(PolicyKeys.Rejected, cancel);
        Rejected = rejected is null ? null : JsonSerializer.Deserialize(rejected.Value.Span, PolicyStoreJson.Default.RejectedRecord)?.Rejected;
        await RefreshFreezeAsync(cancel);
    }

    private async Task RefreshFreezeAsync(CancellationToken cancel)
    {
        var entry = await store.GetAsync(PolicyKeys.Freeze, cancel);
        var freeze = entry is null ? null : JsonSerializer.Deserialize(entry.Value.Span, PolicyStoreJson.Default.FreezeRecord)?.Freeze;
        if (freeze is not null && freeze.Until <= time.GetUtcNow())
        {
            if (await store.DeleteAsync(PolicyKeys.Freeze, entry!.Version, null, cancel) is StoreWrite.Done)
                await events.RecordAsync("freeze.ended", "time", $"The freeze of {freeze.By} ({freeze.Reason}) has run out: automatic acts go on.", null, cancel);
            freeze = null;
        }
        if (Interlocked.Exchange(ref _freeze, freeze) != freeze)
            Tell();
    }

    /// <summary>Takes up the file when it differs from what was last looked at.</summary>
    private async Task ConsiderAsync(byte[] bytes, CancellationToken cancel)
    {
        var hash = PolicyFile.Hash(bytes);
        var known = await store.GetAsync(PolicyKeys.File, cancel);
        if (known is not null && JsonSerializer.Deserialize(known.Value.Span, PolicyStoreJson.Default.FileRecord)?.Hash == hash)
            return;
        switch (await ApplyAsync(bytes, Path.GetFileName(options.File), FileActor, expectedHash: null, cancel))
        {
            case PolicyOutcome.Refused refused:
                await RejectAsync(hash, refused.Errors, cancel);
                await NoteFileAsync(hash, cancel);
                break;
            case PolicyOutcome.Applied:
                await NoteFileAsync(hash, cancel);
                break;
            default:
                break; // somebody was faster: the next pass looks again
        }
    }

    private async Task RejectAsync(string hash, IReadOnlyList<PolicyError> errors, CancellationToken cancel)
    {
        var rejected = new RejectedView { File = options.File, Hash = hash, At = time.GetUtcNow(), Errors = [.. errors.Take(50).Select(View)] };
        await store.PutAsync(PolicyKeys.Rejected, JsonSerializer.SerializeToUtf8Bytes(new RejectedRecord(1, rejected), PolicyStoreJson.Default.RejectedRecord), null, null, cancel);
        Rejected = rejected;
        LogRejected(logger, options.File, errors.Count, errors[0].ToString());
        await events.RecordAsync("policy.rejected", FileActor, $"The changed policy {options.File} was refused with {errors.Count} error(s); the one in force stays. First: {errors[0]}", new Dictionary<string, string> { ["hash"] = hash }, cancel);
        Tell();
    }

    private async Task ForgetRejectedAsync(CancellationToken cancel)
    {
        if (await store.GetAsync(PolicyKeys.Rejected, cancel) is { } entry)
            await store.DeleteAsync(PolicyKeys.Rejected, entry.Version, null, cancel);
        Rejected = null;
    }

    private async Task NoteFileAsync(string hash, CancellationToken cancel) =>
        await store.PutAsync(PolicyKeys.File, JsonSerializer.SerializeToUtf8Bytes(new FileRecord(1, hash), PolicyStoreJson.Default.FileRecord), null, null, cancel);

    /// <summary>Null: not there, or not readable now. One byte over the limit is enough to refuse it.</summary>
    private async Task<byte[]?> ReadFileAsync(CancellationToken cancel)
    {
        try
        {
            await using var file = new FileStream(options.File, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var bytes = new byte[Math.Min(file.Length, PolicyText.BytesMax + 1)];
            var read = await file.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancel);
            return bytes[..read];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException) { return null; }
    }

    private void Swap(InForce inForce)
    {
        Volatile.Write(ref _inForce, inForce);
        Tell();
    }

    private void Tell()
    {
        Action[] callbacks;
        lock (_gate)
            callbacks = [.. _onChange];
        foreach (var callback in callbacks)
        {
            try { callback(); }
            catch (Exception error) { LogCallback(logger, error); } // one listener's failure must not keep the news from the others
        }
    }

    private static PolicyRecord Read(StoreEntry entry) =>
        JsonSerializer.Deserialize(entry.Value.Span, PolicyStoreJson.Default.PolicyRecord) ?? throw new JsonException($"{entry.Key} holds null.");

    public static PolicyErrorView View(PolicyError error) => new(error.At.File ?? "", error.At.Line, error.At.Column, error.Path, error.Message, error.Fix);

    [LoggerMessage(Level = LogLevel.Information, Message = "Policy {Hash} from {File} is in force, applied by {Actor}.")]
    private static partial void LogApplied(ILogger logger, string file, string hash, string actor);

    [LoggerMessage(Level = LogLevel.Error, Message = "The changed policy {File} is refused with {Errors} error(s); the one in force stays. First: {First}")]
    private static partial void LogRejected(ILogger logger, string file, int errors, string first);

    [LoggerMessage(Level = LogLevel.Error, Message = "Policy {Hash} in the store has {Errors} error(s) for this server; it keeps the one it has.")]
    private static partial void LogUnreadable(ILogger logger, string hash, int errors);

    [LoggerMessage(Level = LogLevel.Error, Message = "A listener to policy changes failed.")]
    private static partial void LogCallback(ILogger logger, Exception error);

    private sealed class Registration(PolicySource source, Action changed) : IDisposable
    {
        public void Dispose()
        {
            lock (source._gate)
                source._onChange.Remove(changed);
        }
    }
}

/// <summary>The policy in force, its text, and where each value came from.</summary>
internal sealed record InForce(PolicyDocument Document, IReadOnlyList<PolicyValue> Values, string Text, PolicyRecord Record, long Version);

/// <summary>How applying a policy ended.</summary>
internal abstract record PolicyOutcome
{
    private PolicyOutcome() { }

    /// <summary>In force; unchanged when it was so already.</summary>
    public sealed record Applied(bool Changed) : PolicyOutcome;
    public sealed record Refused(IReadOnlyList<PolicyError> Errors) : PolicyOutcome;

    /// <summary>Another policy is in force than the one that was to be replaced.</summary>
    public sealed record Conflict(string Hash) : PolicyOutcome;
}
