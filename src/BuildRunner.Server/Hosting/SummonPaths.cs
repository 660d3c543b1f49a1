namespace BuildRunner.Server.Hosting;

/// <summary>Where a gateway is summoned: GET gives the challenge, POST brings the signed question with the challenge in a header.</summary>
internal static class SummonPaths
{
    public const string Gateway = "/br/gateway/summon";
    public const string Challenge = "BuildRunner-Challenge";
}
