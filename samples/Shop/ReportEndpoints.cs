using BuildRunner.Application;
using Npgsql;

namespace Shop;

/// <summary>Questions over all of the data, asked of this host's copy; slow by nature, which is why they are a service with a budget of their own.</summary>
internal sealed class ReportEndpoints(ApplicationDatabase database, TimeProvider time)
{
    public void Map(IEndpointRouteBuilder app)
    {
        RequestDelegate sales = SalesAsync;
        app.MapGet("/reports/sales", sales);
    }

    private async Task SalesAsync(HttpContext context)
    {
        var report = await database.ReadAsync(async (connection, cancel) =>
        {
            await using var command = new NpgsqlCommand(
                """
                WITH sold AS (
                    SELECT p.id, p.category, p.name, count(*) AS orders, sum(o.quantity) AS units, sum(o.quantity::bigint * p.price_cents) AS revenue,
                           count(*) FILTER (WHERE o.status = 'packed') AS packed
                    FROM orders o JOIN products p ON p.id = o.product_id GROUP BY p.id),
                best AS (SELECT DISTINCT ON (category) category, id, name FROM sold ORDER BY category, revenue DESC, id),
                range AS (SELECT category, percentile_cont(0.5) WITHIN GROUP (ORDER BY price_cents) AS median FROM products GROUP BY category)
                SELECT r.category, coalesce(sum(s.orders), 0)::bigint, coalesce(sum(s.units), 0)::bigint, coalesce(sum(s.revenue), 0)::bigint,
                       coalesce(sum(s.packed), 0)::bigint, r.median, coalesce(min(b.id), 0), coalesce(min(b.name), '')
                FROM range r LEFT JOIN sold s USING (category) LEFT JOIN best b USING (category)
                GROUP BY r.category, r.median ORDER BY 4 DESC, 1
                """, connection);
            var rows = new List<CategorySales>();
            var packed = 0L;
            await using var reader = await command.ExecuteReaderAsync(cancel);
            while (await reader.ReadAsync(cancel))
            {
                rows.Add(new(reader.GetString(0), reader.GetInt64(1), reader.GetInt64(2), reader.GetInt64(3), 0, reader.GetDouble(5), reader.GetInt32(6), reader.GetString(7)));
                packed += reader.GetInt64(4);
            }

            var revenue = rows.Sum(row => row.RevenueCents);
            return new SalesReport(time.GetUtcNow(), rows.Sum(row => row.Orders), revenue, packed,
                [.. rows.Select(row => row with { Share = revenue == 0 ? 0 : (double)row.RevenueCents / revenue })]);
        }, context.RequestAborted);
        context.Response.Headers.CacheControl = "public, max-age=30, s-maxage=300";
        await context.Response.WriteAsJsonAsync(report, ShopJson.Default.SalesReport);
    }
}
