using System.Text;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Policy;
using BuildRunner.Tests.Support;

namespace BuildRunner.Tests.Policy;

/// <summary>Policies for tests, and the one way to bind them.</summary>
internal static class Policies
{
    public static string ShippedPath { get; } = Path.Combine(Repository.Root, "governance", "policy.yml");

    public static string Shipped { get; } = File.ReadAllText(ShippedPath);

    public static PolicyBinding Bind(string text, params (string Name, string Value)[] variables) =>
        PolicyFile.Bind(Encoding.UTF8.GetBytes(text), "policy.yml", variables.ToDictionary(v => v.Name, v => v.Value));

    public static PolicyDocument Good(string text, params (string Name, string Value)[] variables)
    {
        var binding = Bind(text, variables);
        Assert.True(binding.Document is not null, string.Join('\n', binding.Errors));
        return binding.Document;
    }

    /// <summary>The one error of a text.</summary>
    public static PolicyError Error(string text, params (string Name, string Value)[] variables) => Assert.Single(Bind(text, variables).Errors);
}
