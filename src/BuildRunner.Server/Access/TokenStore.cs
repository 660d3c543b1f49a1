using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text.Json;
using BuildRunner.Client.Access;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Access;

/// <summary>Tokens and sessions: kept in the store, looked up in memory. At most 1,000 of each; the oldest revoked or ended make room.</summary>
internal sealed class TokenStore(IStore store, TimeProvider time) : IDisposable
{
    public const int TokensMax = 1000;
    public const int SessionsMax = 1000;
    public static readonly TimeSpan SessionLength = TimeSpan.FromHours(12);
    private const string Tokens = "tokens/";
    private const string Sessions = "sessions/";

    private readonly SemaphoreSlim _changing = new(1, 1);
    private ImmutableDictionary<string, StoredToken> _tokens = ImmutableDictionary<string, StoredToken>.Empty;
    private ImmutableDictionary<string, StoredSession> _sessions = ImmutableDictionary<string, StoredSession>.Empty;

    public IEnumerable<StoredToken> All => _tokens.Values.OrderBy(token => token.CreatedAt).ThenBy(token => token.Id, StringComparer.Ordinal);

    public async Task LoadAsync(CancellationToken cancel)
    {
        var tokens = await store.ListAsync(Tokens, cancel);
        _tokens = tokens.Select(entry => JsonSerializer.Deserialize(entry.Value.Span, AccessStoreJson.Default.StoredToken)!).ToImmutableDictionary(token => token.Id, StringComparer.Ordinal);
        var sessions = await store.ListAsync(Sessions, cancel);
        _sessions = sessions.ToImmutableDictionary(
            entry => entry.Key[Sessions.Length..],
            entry => JsonSerializer.Deserialize(entry.Value.Span, AccessStoreJson.Default.StoredSession)!, StringComparer.Ordinal);
    }

    /// <summary>The living token of this text; null: no such token, or revoked.</summary>
    public StoredToken? Find(string text)
    {
        if (text.Length > AccessToken.LengthMax || !text.StartsWith(AccessToken.Prefix, StringComparison.Ordinal))
            return null;
        // Looked up by a hash that nobody can steer, and then compared in constant time: timing tells nothing of the secret.
        var hash = AccessToken.Hash(text);
        return _tokens.GetValueOrDefault(AccessToken.IdOf(Convert.ToHexStringLower(hash))) is { RevokedAt: null } token
            && CryptographicOperations.FixedTimeEquals(Convert.FromHexString(token.Hash), hash) ? token : null;
    }

    /// <summary>The living token behind a session's cookie.</summary>
    public (StoredToken Token, DateTimeOffset Until)? FindSession(string cookie)
    {
        if (cookie.Length > AccessToken.LengthMax || !_sessions.TryGetValue(AccessToken.HashText(cookie), out var session) || session.Until <= time.GetUtcNow())
            return null;
        return _tokens.GetValueOrDefault(session.TokenId) is { RevokedAt: null } token ? (token, session.Until) : null;
    }

    public StoredToken? ById(string id) => _tokens.GetValueOrDefault(id);

    /// <summary>Knows a token by its hash from now on; the token that had that hash before, revoked ones too, stays as it is. False when there are too many.</summary>
    public async Task<(StoredToken? Token, bool Added)> AddAsync(string name, AccessRole role, string? region, string hashText, string by, CancellationToken cancel)
    {
        await _changing.WaitAsync(cancel);
        try
        {
            var id = AccessToken.IdOf(hashText);
            if (_tokens.TryGetValue(id, out var known))
                return (known, false);
            if (_tokens.Count >= TokensMax)
            {
                if (_tokens.Values.Where(token => token.RevokedAt is not null).MinBy(token => token.RevokedAt) is not { } oldest)
                    return (null, false);
                await store.DeleteAsync(Tokens + oldest.Id, null, null, cancel);
                _tokens = _tokens.Remove(oldest.Id);
            }
            var added = new StoredToken { Id = id, Name = name, Role = role, Region = region, Hash = hashText, CreatedAt = time.GetUtcNow(), CreatedBy = by };
            await PutAsync(added, cancel);
            return (added, true);
        }
        finally { _changing.Release(); }
    }

    /// <summary>A seed says who a token is for; a changed seed changes that, and a revoked token stays revoked.</summary>
    public async Task SeedAsync(IReadOnlyList<SeedToken> seeds, CancellationToken cancel)
    {
        await _changing.WaitAsync(cancel);
        try
        {
            var changed = seeds.DistinctBy(seed => seed.Hash).Select(Seeded).OfType<StoredToken>().ToList();
            if (_tokens.Count + changed.Count(token => !_tokens.ContainsKey(token.Id)) > TokensMax)
                throw new AccessException($"With the seeded ones there would be more than {TokensMax} tokens. Revoke what nobody needs: `br token list`.");
            await Task.WhenAll(changed.Select(token => WriteAsync(token, cancel))); // together: they share a flush to disk
            _tokens = _tokens.SetItems(changed.Select(token => KeyValuePair.Create(token.Id, token)));
        }
        finally { _changing.Release(); }
    }

    /// <summary>The token as the seed wants it; null: it is so, or it is revoked.</summary>
    private StoredToken? Seeded(SeedToken seed)
    {
        if (!_tokens.TryGetValue(AccessToken.IdOf(seed.Hash), out var known))
            return new StoredToken { Id = AccessToken.IdOf(seed.Hash), Name = seed.Name, Role = seed.Role, Region = seed.Region, Hash = seed.Hash, CreatedAt = time.GetUtcNow(), CreatedBy = "seed" };
        var wanted = known with { Name = seed.Name, Role = seed.Role, Region = seed.Region };
        return known.RevokedAt is not null || wanted == known ? null : wanted;
    }

    /// <summary>Null: no such token, or revoked before. The last living administrator's token is never revoked.</summary>
    public async Task<(StoredToken? Token, bool Last)> RevokeAsync(string id, string by, CancellationToken cancel)
    {
        await _changing.WaitAsync(cancel);
        try
        {
            if (!_tokens.TryGetValue(id, out var token) || token.RevokedAt is not null)
                return (null, false);
            if (token.Role == AccessRole.Admin && _tokens.Values.Count(other => other.Role == AccessRole.Admin && other.RevokedAt is null) == 1)
                return (token, true);
            var revoked = token with { RevokedAt = time.GetUtcNow(), RevokedBy = by };
            await PutAsync(revoked, cancel);
            foreach (var (hash, _) in _sessions.Where(session => session.Value.TokenId == id))
                await RemoveSessionAsync(hash, cancel);
            return (revoked, false);
        }
        finally { _changing.Release(); }
    }

    /// <summary>Makes a session; the result is the cookie's value.</summary>
    public async Task<(string Cookie, DateTimeOffset Until)> SignInAsync(StoredToken token, CancellationToken cancel)
    {
        await _changing.WaitAsync(cancel);
        try
        {
            var now = time.GetUtcNow();
            foreach (var (ended, _) in _sessions.Where(session => session.Value.Until <= now))
                await RemoveSessionAsync(ended, cancel);
            while (_sessions.Count >= SessionsMax)
                await RemoveSessionAsync(_sessions.MinBy(session => session.Value.CreatedAt).Key, cancel);

            var cookie = AccessToken.New()[AccessToken.Prefix.Length..];
            var session = new StoredSession { TokenId = token.Id, CreatedAt = now, Until = now + SessionLength };
            var hash = AccessToken.HashText(cookie);
            await store.PutAsync(Sessions + hash, JsonSerializer.SerializeToUtf8Bytes(session, AccessStoreJson.Default.StoredSession), null, null, cancel);
            _sessions = _sessions.SetItem(hash, session);
            return (cookie, session.Until);
        }
        finally { _changing.Release(); }
    }

    public async Task SignOutAsync(string cookie, CancellationToken cancel)
    {
        await _changing.WaitAsync(cancel);
        try
        {
            var hash = AccessToken.HashText(cookie);
            if (_sessions.ContainsKey(hash))
                await RemoveSessionAsync(hash, cancel);
        }
        finally { _changing.Release(); }
    }

    private async Task RemoveSessionAsync(string hash, CancellationToken cancel)
    {
        await store.DeleteAsync(Sessions + hash, null, null, cancel);
        _sessions = _sessions.Remove(hash);
    }

    private async Task PutAsync(StoredToken token, CancellationToken cancel)
    {
        await WriteAsync(token, cancel);
        _tokens = _tokens.SetItem(token.Id, token);
    }

    private Task<StoreWrite> WriteAsync(StoredToken token, CancellationToken cancel) =>
        store.PutAsync(Tokens + token.Id, JsonSerializer.SerializeToUtf8Bytes(token, AccessStoreJson.Default.StoredToken), null, null, cancel);

    public void Dispose() => _changing.Dispose();
}
