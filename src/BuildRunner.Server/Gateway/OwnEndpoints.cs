using System.Text;
using System.Text.Json;
using BuildRunner.Client;
using BuildRunner.Client.Databases;
using BuildRunner.Server.Hosting;
using Microsoft.AspNetCore.Http;

namespace BuildRunner.Server.Gateway;

/// <summary>The gateway's own paths on the users' listener. What else lies under `/br/` belongs to applications' inner affairs and is not there for users.</summary>
internal sealed class OwnEndpoints(string region, GatewayTable table, GatewayAnswers answers, GatewaySummons summons)
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
            case SummonPaths.Gateway when HttpMethods.IsGet(context.Request.Method):
                await TextAsync(context, JsonSerializer.Serialize(summons.Hello(), WireJson.Default.PeerHello), "application/json");
                break;
            case SummonPaths.Gateway when HttpMethods.IsPost(context.Request.Method):
                await SummonAsync(context);
                break;
            default:
                await answers.WriteAsync(context, 404, "gateway.not-found", $"There is nothing at {context.Request.Path}.");
                break;
        }
    }

    private async Task SummonAsync(HttpContext context)
    {
        if (context.Request.ContentLength is not (> 0 and <= GatewaySummons.BodyBytesMax))
        {
            await answers.WriteAsync(context, 413, "gateway.summons-too-long", $"A summons has 1 to {GatewaySummons.BodyBytesMax} bytes and says how many.");
            return;
        }
        PeerReply? reply = null;
        try
        {
            if (await JsonSerializer.DeserializeAsync(context.Request.Body, WireJson.Default.PeerQuestion, context.RequestAborted) is { } question)
                reply = summons.Take(question, context.Request.Headers[SummonPaths.Challenge].ToString());
        }
        catch (JsonException) { } // answered as any other that is none of ours
        if (reply is null)
            await answers.WriteAsync(context, 403, "gateway.summons-refused", "This is no summons of this house.", "It is signed with the key of the house, over a challenge of the last ten seconds.");
        else
            await TextAsync(context, JsonSerializer.Serialize(reply, WireJson.Default.PeerReply), "application/json");
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
