using System.Text.Json;
using BuildRunner.Client.Access;
using BuildRunner.Server.Events;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BuildRunner.Server.Access;

/// <summary>Before the server listens: loads tokens, makes the first administrator's, and takes in the seeds.</summary>
internal sealed partial class AccessStart(TokenStore tokens, AccessOptions options, IEventLog events, ILogger<AccessStart> logger) : IHostedLifecycleService
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode Others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
    private const int SeedsMax = 500;

    public async Task StartingAsync(CancellationToken cancellationToken)
    {
        await tokens.LoadAsync(cancellationToken);
        await FirstAsync(cancellationToken);
        if (options.SeedTokens is { } path)
            await tokens.SeedAsync(Seeds(path), cancellationToken);
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Whoever can write into the data folder rules the server: a token put there is the administrator's, and a missing one is made anew.</summary>
    private async Task FirstAsync(CancellationToken cancel)
    {
        var path = Path.Combine(options.DataFolder, "token");
        string text;
        if (File.Exists(path))
        {
            text = ReadSecret(path).Trim();
            if (text.Length > AccessToken.LengthMax || !text.StartsWith(AccessToken.Prefix, StringComparison.Ordinal) || text.Length < 40)
                throw new AccessException($"{path} holds no token. Remove it, and the next start makes a new one.");
        }
        else
        {
            text = AccessToken.New();
            var temporary = $"{path}.{Guid.NewGuid():N}.tmp";
            using (var file = new FileStream(temporary, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = OwnerOnly }))
            {
                file.Write(System.Text.Encoding.ASCII.GetBytes(text + "\n"));
                file.Flush(flushToDisk: true);
            }
            File.Move(temporary, path);
        }
        // The file comes first: a start that is cut short between the two finds it and goes on here.
        var (token, added) = await tokens.AddAsync("admin", AccessRole.Admin, null, AccessToken.HashText(text), "first start", cancel);
        if (added)
        {
            LogFirst(logger, token!.Id, path);
            await events.RecordAsync("token.created", "server", $"The administrator's token {token.Id} was taken from {Path.GetFileName(path)} in the data folder.", null, cancel);
        }
        else if (token?.RevokedAt is not null)
        {
            LogRevoked(logger, token.Id, path);
        }
    }

    internal static IReadOnlyList<SeedToken> Seeds(string path)
    {
        try
        {
            var seeds = JsonSerializer.Deserialize(ReadSecret(path), AccessStoreJson.Default.SeedTokenArray) ?? [];
            if (seeds.Length > SeedsMax)
                throw new AccessException($"{path} has {seeds.Length} tokens; {SeedsMax} is the limit.");
            foreach (var seed in seeds)
            {
                if (!AccessRules.IsHash(seed.Hash))
                    throw new AccessException($"{path}: the hash of '{seed.Name}' is not a SHA-256 in lower-case hex.");
                if (AccessRules.Fault(seed.Role, seed.Name, seed.Region) is { } fault)
                    throw new AccessException($"{path}: {fault}");
            }
            return seeds;
        }
        catch (JsonException error) { throw new AccessException($"{path} is not a list of tokens: {error.Message}", error); }
    }

    private static string ReadSecret(string path)
    {
        try
        {
            if ((File.GetUnixFileMode(path) & Others) != 0)
                throw new AccessException($"{path} holds secrets and is open to others. Close it: chmod 600 {path}");
            return File.ReadAllText(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new AccessException($"{path} cannot be read: {error.Message}", error);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "The administrator's token {Id} is in {Path}.")]
    private static partial void LogFirst(ILogger logger, string id, string path);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The token {Id} in {Path} is revoked. Remove the file, and the next start makes a new one.")]
    private static partial void LogRevoked(ILogger logger, string id, string path);
}
