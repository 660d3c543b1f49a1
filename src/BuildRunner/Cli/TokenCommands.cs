using System.CommandLine;
using BuildRunner.Client.Access;
using Spectre.Console;

namespace BuildRunner.Cli;

/// <summary>`br token`: who may use the server (room Access).</summary>
internal static class TokenCommands
{
    public static Command Build() => new("token", "Who may use the server (room Access)") { Create(), List(), Revoke() };

    private static Command Create()
    {
        var role = new Option<AccessRole>("--role") { Description = "viewer, operator, admin, gateway or agent", Required = true };
        var region = new Option<string?>("--region") { Description = "The region to which a gateway's or an agent's token is bound" };
        var name = new Option<string?>("--name") { Description = "Who bears it: events are recorded under this name" };
        return new Command("create", "Make a token; it is shown once and kept only as a hash") { role, region, name }.Does(async context =>
        {
            var created = await new AccessClient(context.Api()).CreateAsync(new TokenRequest
            {
                Role = context.Parse.GetRequiredValue(role),
                Region = context.Parse.GetValue(region),
                Name = context.Parse.GetValue(name),
            }, context.Cancel);
            context.Talk.WriteLine($"Token {created.Row.Id} '{created.Row.Name}'. It is shown this once; put it in a file of mode 0600.");
            context.Print(created, AccessJson.Default.TokenCreated, (console, data) => Console.Out.WriteLine(data.Token));
            return ExitCode.Fine;
        });
    }

    private static Command List() => new Command("list", "All tokens, without their secrets").Does(async context =>
    {
        var list = await new AccessClient(context.Api()).ListAsync(context.Cancel);
        context.Print(list, AccessJson.Default.TokenList, (console, data) =>
        {
            var table = new Table().Border(TableBorder.None).AddColumns("ID", "NAME", "ROLE", "REGION", "CREATED", "BY", "STATE");
            foreach (var row in data.Tokens)
            {
                table.AddRow(new Text(row.Id), new Text(row.Name), new Text(row.Role.ToString().ToLowerInvariant()), new Text(row.Region ?? "-"), new Text(Date(row.CreatedAt)), new Text(row.CreatedBy),
                    new Text(row.RevokedAt is { } at ? $"revoked {Date(at)} by {row.RevokedBy}" : "in use"));
            }
            console.Write(table);
        });
        return ExitCode.Fine;
    });

    private static Command Revoke()
    {
        var id = new Argument<string>("id") { Description = "The token's id, as `br token list` shows it" };
        return new Command("revoke", "End a token, and every session begun with it, at once") { id }.Does(async context =>
        {
            await new AccessClient(context.Api()).RevokeAsync(context.Parse.GetRequiredValue(id), context.Cancel);
            context.Talk.WriteLine($"Token {context.Parse.GetRequiredValue(id)} is revoked.");
            return ExitCode.Fine;
        });
    }

    private static string Date(DateTimeOffset at) => at.ToLocalTime().ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture);
}
