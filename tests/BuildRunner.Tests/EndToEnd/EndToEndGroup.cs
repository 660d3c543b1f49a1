namespace BuildRunner.Tests.EndToEnd;

/// <summary>Whole systems on one small machine: one at a time.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class EndToEndGroup
{
    public const string Name = "end to end";
}
