using System.Net;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using BuildRunner.Application;

namespace Shop;

/// <summary>The page people see, complete without a script, and its assets, whose names hold the hash of what is in them.</summary>
internal sealed class Storefront(Catalogue catalogue, ShopOptions options)
{
    private static readonly (string Name, string Type)[] s_sources = [("shop.css", "text/css; charset=utf-8"), ("shop.js", "text/javascript; charset=utf-8"), ("shop.svg", "image/svg+xml")];

    private readonly Dictionary<string, (byte[] Content, string Type)> _assets = [];
    private readonly Dictionary<string, string> _hashed = [];
    private readonly string _page = Encoding.UTF8.GetString(Resource("index.html"));

    public void Map(IEndpointRouteBuilder app)
    {
        foreach (var (name, type) in s_sources)
        {
            var content = Resource(name);
            var hashed = $"{Path.GetFileNameWithoutExtension(name)}.{Convert.ToHexStringLower(SHA256.HashData(content))[..12]}{Path.GetExtension(name)}";
            _assets[hashed] = (content, type);
            _hashed[name] = hashed;
        }

        RequestDelegate page = PageAsync, asset = AssetAsync;
        app.MapMethods("/", ["GET", "HEAD"], page);
        app.MapMethods("/assets/{name}", ["GET", "HEAD"], asset);
    }

    private async Task PageAsync(HttpContext context)
    {
        var query = context.Request.Query["q"].ToString().Trim();
        if (query.Length > Catalogue.QueryLengthMax)
            query = query[..Catalogue.QueryLengthMax];
        var found = await catalogue.SearchAsync(query.Length == 0 ? null : query, 1, context.RequestAborted);

        var cards = new StringBuilder();
        foreach (var product in found.Products)
            Card(cards, product);
        if (found.Products.Count == 0)
            cards.Append(CultureInfo.InvariantCulture, $"<p class=\"none\">Nothing is called “{WebUtility.HtmlEncode(query)}”. Try <a href=\"/?q=oak+lamp\">oak lamp</a>.</p>");

        var html = _page.Replace("{{products}}", cards.ToString()).Replace("{{query}}", WebUtility.HtmlEncode(query)).Replace("{{region}}", WebUtility.HtmlEncode(options.Region));
        foreach (var (name, hashed) in _hashed)
            html = html.Replace($"/assets/{name}", $"/assets/{hashed}");
        var answer = context.Response;
        answer.ContentType = "text/html; charset=utf-8";
        answer.Headers.CacheControl = "public, max-age=30";
        answer.Headers.ContentSecurityPolicy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
        answer.Headers.XContentTypeOptions = "nosniff";
        if (HttpMethods.IsGet(context.Request.Method))
            await answer.WriteAsync(html, context.RequestAborted);
    }

    private async Task AssetAsync(HttpContext context)
    {
        if (!_assets.TryGetValue((string?)context.GetRouteValue("name") ?? "", out var asset))
        {
            // Two versions serve side by side during a release: a name of the other one must not be remembered as missing.
            await Problem.Of(404, "shop.no-such-asset", $"There is no asset {context.GetRouteValue("name")} in version {options.Version}.").ExecuteAsync(context);
            return;
        }

        context.Response.ContentType = asset.Type;
        context.Response.ContentLength = asset.Content.Length;
        context.Response.Headers.CacheControl = "public, max-age=31536000, immutable";
        context.Response.Headers.XContentTypeOptions = "nosniff";
        if (HttpMethods.IsGet(context.Request.Method))
            await context.Response.Body.WriteAsync(asset.Content, context.RequestAborted);
    }

    private static void Card(StringBuilder html, Product product)
    {
        var name = WebUtility.HtmlEncode(product.Name);
        var material = product.Name.Split(' ')[0].ToLowerInvariant();
        html.Append(CultureInfo.InvariantCulture,
            $"""
            <li class="card"><div class="tile {material}" aria-hidden="true">{WebUtility.HtmlEncode(Initials(product.Name))}</div>
            <h2>{name}</h2><p class="kind">{product.Category}{(product.Stock == 0 ? " · sold out" : "")}</p>
            <p class="price">€ {product.PriceCents / 100.0:0.00}</p><button data-product="{product.Id}" data-name="{name}"{(product.Stock == 0 ? " disabled" : "")}>Order</button></li>

            """);
    }

    private static string Initials(string name)
    {
        var words = name.Split(' ');
        return words.Length > 1 ? $"{words[0][0]}{words[1][0]}".ToUpperInvariant() : name[..1];
    }

    private static byte[] Resource(string name)
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name) ?? throw new InvalidOperationException($"{name} was not built in.");
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }
}
