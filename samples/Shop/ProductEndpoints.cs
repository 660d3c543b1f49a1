using BuildRunner.Application;

namespace Shop;

/// <summary>The public catalogue: the same for everyone, so any cache may keep it.</summary>
internal sealed class ProductEndpoints(Catalogue catalogue)
{
    public void Map(IEndpointRouteBuilder app)
    {
        RequestDelegate search = SearchAsync, one = OneAsync;
        app.MapGet("/api/products", search);
        app.MapGet("/api/products/{id}", one);
    }

    private async Task SearchAsync(HttpContext context)
    {
        var query = context.Request.Query["q"].ToString().Trim();
        var page = 1;
        if (context.Request.Query["page"] is { Count: > 0 } text && !(int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out page) && page is >= 1 and <= Catalogue.PageMax))
            await Problem.Of(400, "shop.page", $"`page` is 1 to {Catalogue.PageMax}; it was '{text}'.").ExecuteAsync(context);
        else if (query.Length > Catalogue.QueryLengthMax)
            await Problem.Of(400, "shop.query", $"`q` has at most {Catalogue.QueryLengthMax} letters.").ExecuteAsync(context);
        else
        {
            var found = await catalogue.SearchAsync(query.Length == 0 ? null : query, page, context.RequestAborted);
            context.Response.Headers.CacheControl = "public, max-age=60, s-maxage=3600";
            await context.Response.WriteAsJsonAsync(found, ShopJson.Default.ProductPage);
        }
    }

    private async Task OneAsync(HttpContext context)
    {
        if (!int.TryParse((string?)context.GetRouteValue("id"), NumberStyles.None, CultureInfo.InvariantCulture, out var id) || await catalogue.FindAsync(id, context.RequestAborted) is not { } product)
        {
            await Problem.Of(404, "shop.no-such-product", $"There is no product {context.GetRouteValue("id")}.").ExecuteAsync(context);
            return;
        }

        context.Response.Headers.CacheControl = "public, max-age=60, s-maxage=3600";
        await context.Response.WriteAsJsonAsync(
            new ProductDetail(product.Id, product.Name, product.Category, product.PriceCents, product.Stock, $"{product.Name}, from our {product.Category.ToLowerInvariant()} range. Made to last, and mended for free."),
            ShopJson.Default.ProductDetail);
    }
}
