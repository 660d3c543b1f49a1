namespace BuildRunner.Core.Policy;

/// <summary>One thing wrong with a policy: where, under which key, what, and what to write instead.</summary>
public sealed record PolicyError(PolicyPosition At, string Path, string Message, string Fix)
{
    /// <summary>One line, as a compiler would say it.</summary>
    public override string ToString() => Path.Length == 0 || At.IsVariable ? $"{At}: {Message} {Fix}" : $"{At}: {Path}: {Message} {Fix}";
}
