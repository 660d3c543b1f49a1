using System.Text;
using Microsoft.AspNetCore.Http;

namespace BuildRunner.Server.Gateway;

/// <summary>The gateway's own paths on the users' listener. What else lies under `/br/` belongs to applications' inner affairs and is not there for users.</summary>
internal sealed class OwnEndpoints(string region, GatewayTable table, GatewayAnswers answers)
{
    public const string HealthPath = "/br/gateway/healthz";
    public const string VersionPath = "/br/gateway/table-version";

    public static bool IsOwn(PathString path)
    {
        // `//br`, `/BR`: an application may read them as `/br`.
        var rest = path.Value.AsSpan();
        return Core.Routing.RoutePattern.NextSegment(ref rest, out var first) && first.Equals("br", StringComparison.OrdinalIgnoreCase);
    }

    public async Task AnswerAsync(HttpContext context)
    {
        var view = table.State?.View;
        switch (context.Request.Path.Value)
        {
            case HealthPath when view is null:
                await answers.WriteAsync(context, 503, "gateway.no-table", "This gateway has no routing table yet.", "It has never reached its server; it is asking.");
                break;
            case HealthPath:
                await TextAsync(context, $$"""{"schema_version":1,"region":"{{region}}","table_version":{{view!.Table.Version}}}""" + "\n", "application/json");
                break;
            case VersionPath:
                await TextAsync(context, string.Create(CultureInfo.InvariantCulture, $"{view?.Table.Version ?? 0}\n"), "text/plain");
                break;
            default:
                await answers.WriteAsync(context, 404, "gateway.not-found", $"There is nothing at {context.Request.Path}.");
                break;
        }
    }

    private static Task TextAsync(HttpContext context, string text, string type)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        context.Response.ContentType = type;
        context.Response.ContentLength = bytes.Length;
        context.Response.Headers.CacheControl = "no-store";
        return HttpMethods.IsHead(context.Request.Method) ? Task.CompletedTask : context.Response.Body.WriteAsync(bytes, context.RequestAborted).AsTask();
    }
}
