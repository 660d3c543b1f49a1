using System.Text.Json;
using BuildRunner.Application;
using Npgsql;

namespace Shop;

/// <summary>
/// Orders, by an id that the client makes: the same order sent again is the same order. The row, and its place in the packing queue, are one
/// transaction.
/// </summary>
internal sealed class OrderEndpoints(ApplicationDatabase database, Writes writes)
{
    public const int PageMax = 1000;
    public const int QuantityMax = 100;

    private const string Columns = "id, product_id, quantity, status, placed_at, packed_at, epoch";

    public void Map(IEndpointRouteBuilder app)
    {
        RequestDelegate place = PlaceAsync, one = OneAsync, list = ListAsync;
        app.MapPost("/api/orders", place);
        app.MapGet("/api/orders", list);
        app.MapGet("/api/orders/{id}", one);
    }

    private async Task PlaceAsync(HttpContext context)
    {
        OrderBody? body;
        try { body = await context.Request.ReadFromJsonAsync(ShopJson.Default.OrderBody, context.RequestAborted); }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            await Malformed("The body is no order.").ExecuteAsync(context);
            return;
        }

        if (body is not { Id: { } id, ProductId: { } product, Quantity: { } quantity } || id == Guid.Empty || quantity is < 1 or > QuantityMax)
        {
            await Malformed($"An order has `id` (a UUID that you make), `productId` and `quantity` (1 to {QuantityMax}).").ExecuteAsync(context);
            return;
        }

        WriteOutcome<(Order? Order, bool IsNew)> outcome;
        try
        {
            var epoch = context.Features.Get<RequestEpoch>()?.Epoch ?? 0;
            outcome = await writes.RunAsync(context, (connection, cancel) => PlaceAsync(connection, id, product, quantity, AccountEndpoint.User(context), epoch, cancel));
        }
        catch (PostgresException error) when (error.SqlState == PostgresErrorCodes.ForeignKeyViolation)
        {
            await Problem.Of(422, "shop.no-such-product", $"There is no product {product}.").ExecuteAsync(context);
            return;
        }

        await outcome.Answer(placed =>
        {
            if (placed.Order is not { } order)
                return Problem.Of(500, "shop.order-vanished", $"Order {id} was there and is not.");
            if ((order.ProductId, order.Quantity) != (product, quantity))
                return Problem.Of(409, "shop.other-order", $"Order {id} is for {order.Quantity} of product {order.ProductId}.", "Make a new id for a new order.");
            context.Response.Headers.CacheControl = "private, no-store";
            context.Response.Headers.Location = $"/api/orders/{id}";
            return Results.Json(order, ShopJson.Default.Order, statusCode: placed.IsNew ? 201 : 200);
        }).ExecuteAsync(context);
    }

    private static async Task<(Order? Order, bool IsNew)> PlaceAsync(
        NpgsqlConnection connection, Guid id, int product, int quantity, string? customer, long epoch, CancellationToken cancel)
    {
        await using (var insert = new NpgsqlCommand(
            $"""
            WITH placed AS (INSERT INTO orders (id, product_id, quantity, customer, epoch) VALUES (@id, @product, @quantity, @customer, @epoch)
                            ON CONFLICT (id) DO NOTHING RETURNING {Columns}),
                 queued AS (INSERT INTO packing_queue (order_id) SELECT id FROM placed)
            SELECT {Columns} FROM placed
            """, connection))
        {
            insert.Parameters.Add(new NpgsqlParameter<Guid>("id", id));
            insert.Parameters.Add(new NpgsqlParameter<int>("product", product));
            insert.Parameters.Add(new NpgsqlParameter<int>("quantity", quantity));
            insert.Parameters.Add(new NpgsqlParameter<string?>("customer", customer) { NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Text });
            insert.Parameters.Add(new NpgsqlParameter<long>("epoch", epoch));
            if (await ReadOneAsync(insert, cancel) is { } placed)
                return (placed, true);
        }

        // FOR UPDATE: this commit then waits, like the first one's, until the order is held wherever it must be.
        await using var find = new NpgsqlCommand($"SELECT {Columns} FROM orders WHERE id = @id FOR UPDATE", connection);
        find.Parameters.Add(new NpgsqlParameter<Guid>("id", id));
        return (await ReadOneAsync(find, cancel), false);
    }

    private async Task OneAsync(HttpContext context)
    {
        Order? order = null;
        if (Guid.TryParse((string?)context.GetRouteValue("id"), out var id))
        {
            Task<Order?> FindAsync(NpgsqlConnection connection, CancellationToken cancel)
            {
                var find = new NpgsqlCommand($"SELECT {Columns} FROM orders WHERE id = @id", connection);
                find.Parameters.Add(new NpgsqlParameter<Guid>("id", id));
                return ReadOneAsync(find, cancel);
            }

            // One that has not arrived at this copy yet is looked for where it was written.
            order = await database.ReadAsync(FindAsync, context.RequestAborted) ?? await database.ReadPrimaryAsync(FindAsync, context.RequestAborted);
        }

        context.Response.Headers.CacheControl = "private, no-store";
        if (order is null)
            await Problem.Of(404, "shop.no-such-order", $"There is no order {context.GetRouteValue("id")}.").ExecuteAsync(context);
        else
            await context.Response.WriteAsJsonAsync(order, ShopJson.Default.Order);
    }

    /// <summary>
    /// Orders after a number, oldest first. Numbers are given before commits: while orders are being placed, a later page
    /// may lack one that was given an earlier number and committed later; once they rest, each is listed exactly once.
    /// </summary>
    private async Task ListAsync(HttpContext context)
    {
        var since = 0L;
        if (context.Request.Query["since"] is { Count: > 0 } text && !long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out since))
        {
            await Problem.Of(400, "shop.since", $"`since` is the `next` of the page before, 0 at first; it was '{text}'.").ExecuteAsync(context);
            return;
        }

        var page = await database.ReadAsync(async (connection, cancel) =>
        {
            await using var command = new NpgsqlCommand($"SELECT id, number, epoch FROM orders WHERE number > @since ORDER BY number LIMIT {PageMax + 1}", connection);
            command.Parameters.Add(new NpgsqlParameter<long>("since", since));
            var orders = new List<OrderLine>();
            await using var reader = await command.ExecuteReaderAsync(cancel);
            while (await reader.ReadAsync(cancel))
                orders.Add(new(reader.GetGuid(0), reader.GetInt64(1), reader.GetInt64(2)));
            if (orders.Count <= PageMax)
                return new OrderPage(orders, null);
            orders.RemoveAt(PageMax);
            return new OrderPage(orders, orders[^1].Number);
        }, context.RequestAborted);
        context.Response.Headers.CacheControl = "private, no-store";
        await context.Response.WriteAsJsonAsync(page, ShopJson.Default.OrderPage);
    }

    /// <summary>Reads the command's only row, if it has one; the command is used up.</summary>
    internal static async Task<Order?> ReadOneAsync(NpgsqlCommand command, CancellationToken cancel)
    {
        await using var used = command;
        await using var reader = await command.ExecuteReaderAsync(cancel);
        return await reader.ReadAsync(cancel) ? await ReadAsync(reader, cancel) : null;
    }

    internal static async Task<Order> ReadAsync(NpgsqlDataReader row, CancellationToken cancel) => new(
        row.GetGuid(0), row.GetInt32(1), row.GetInt32(2), row.GetString(3), row.GetFieldValue<DateTimeOffset>(4),
        await row.IsDBNullAsync(5, cancel) ? null : row.GetFieldValue<DateTimeOffset>(5), row.GetInt64(6));

    private static Problem Malformed(string sentence) => Problem.Of(400, "shop.order-malformed", sentence);
}
