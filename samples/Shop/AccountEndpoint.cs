using BuildRunner.Application;
using Npgsql;

namespace Shop;

/// <summary>What belongs to one user; no shared cache may keep it. Who it is stands in cookie `shop-user`, for this is a sample: anyone may claim it.</summary>
internal sealed class AccountEndpoint(ApplicationDatabase database, ShopOptions options)
{
    private const int OrdersShown = 10;
    private const int UserLengthMax = 64;

    /// <summary>Null: a guest.</summary>
    public static string? User(HttpContext context) => context.Request.Cookies["shop-user"] is { Length: > 0 and <= UserLengthMax } user ? user : null;

    public void Map(IEndpointRouteBuilder app)
    {
        RequestDelegate show = ShowAsync;
        app.MapGet("/account", show);
    }

    private async Task ShowAsync(HttpContext context)
    {
        var user = User(context);
        var orders = user is null ? [] : await database.ReadAsync(async (connection, cancel) =>
        {
            await using var command = new NpgsqlCommand(
                $"SELECT id, product_id, quantity, status, placed_at, packed_at, epoch FROM orders WHERE customer = @user ORDER BY number DESC LIMIT {OrdersShown}", connection);
            command.Parameters.Add(new NpgsqlParameter<string>("user", user));
            var rows = new List<Order>();
            await using var reader = await command.ExecuteReaderAsync(cancel);
            while (await reader.ReadAsync(cancel))
                rows.Add(await OrderEndpoints.ReadAsync(reader, cancel));
            return rows;
        }, context.RequestAborted);

        context.Response.Headers.CacheControl = "private, no-cache";
        context.Response.Headers.Vary = "Cookie";
        await context.Response.WriteAsJsonAsync(new Account(user ?? "guest", options.Region, orders), ShopJson.Default.Account);
    }
}
