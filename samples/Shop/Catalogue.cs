using BuildRunner.Application;
using Npgsql;

namespace Shop;

/// <summary>Reads products from this host's copy; searches by index.</summary>
internal sealed class Catalogue(ApplicationDatabase database)
{
    public const int PageSize = 20;
    public const int PageMax = 500;
    public const int QueryLengthMax = 100;
    private const int WordsMax = 5;

    /// <summary>Null: not looked yet.</summary>
    private bool? _trigrams;

    public Task<ProductPage> SearchAsync(string? query, int page, CancellationToken cancel) => database.ReadAsync(async (connection, token) =>
    {
        await using var command = connection.CreateCommand();
        var condition = query is null ? "true" : Condition(command, query, await HasTrigramsAsync(connection, token));
        command.CommandText = $"SELECT id, name, category, price_cents, stock FROM products WHERE {condition} ORDER BY id LIMIT {PageSize + 1} OFFSET @skip";
        command.Parameters.Add(new NpgsqlParameter<int>("skip", (page - 1) * PageSize));
        var products = new List<Product>(PageSize + 1);
        await using var reader = await command.ExecuteReaderAsync(token);
        while (await reader.ReadAsync(token))
            products.Add(Read(reader));
        var more = products.Count > PageSize;
        if (more)
            products.RemoveAt(PageSize);
        return new ProductPage(query, page, more, products);
    }, cancel);

    public Task<Product?> FindAsync(int id, CancellationToken cancel) => database.ReadAsync(async (connection, token) =>
    {
        await using var command = new NpgsqlCommand("SELECT id, name, category, price_cents, stock FROM products WHERE id = @id", connection);
        command.Parameters.Add(new NpgsqlParameter<int>("id", id));
        await using var reader = await command.ExecuteReaderAsync(token);
        return await reader.ReadAsync(token) ? Read(reader) : null;
    }, cancel);

    /// <summary>The pages that users ask for first.</summary>
    public async Task WarmAsync(CancellationToken cancel)
    {
        await SearchAsync(null, 1, cancel);
        await SearchAsync("oak lamp", 1, cancel);
        await FindAsync(1, cancel);
    }

    private async Task<bool> HasTrigramsAsync(NpgsqlConnection connection, CancellationToken cancel)
    {
        if (_trigrams is { } known)
            return known;
        await using var command = new NpgsqlCommand("SELECT to_regclass('products_words') IS NOT NULL", connection);
        var there = await command.ExecuteScalarAsync(cancel) is true;
        _trigrams = there;
        return there;
    }

    /// <summary>All words anywhere in the name, where trigrams find them; words of one or two letters have none, so there the name begins with the query.</summary>
    private static string Condition(NpgsqlCommand command, string query, bool trigrams)
    {
        var words = query.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Take(WordsMax).ToArray();
        if (!trigrams || words.All(word => word.Length < 3))
        {
            command.Parameters.Add(new NpgsqlParameter<string>("start", Escape(query.ToLowerInvariant()) + "%"));
            return "lower(name) LIKE @start";
        }

        for (var i = 0; i < words.Length; i++)
            command.Parameters.Add(new NpgsqlParameter<string>($"word{i}", $"%{Escape(words[i])}%"));
        return string.Join(" AND ", words.Select((_, i) => $"name ILIKE @word{i}"));
    }

    private static string Escape(string text) => text.Replace("\\", "\\\\").Replace("%", "\\%").Replace("_", "\\_");

    private static Product Read(NpgsqlDataReader row) => new(row.GetInt32(0), row.GetString(1), row.GetString(2), row.GetInt32(3), row.GetInt32(4));
}
