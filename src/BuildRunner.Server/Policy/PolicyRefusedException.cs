using BuildRunner.Core.Policy;

namespace BuildRunner.Server.Policy;

/// <summary>A server has no good policy to start with: all that is wrong, one error a line. The command ends with exit code 2.</summary>
public sealed class PolicyRefusedException(string file, IReadOnlyList<PolicyError> errors)
    : Exception($"The policy {file} has {(errors.Count == 1 ? "an error" : $"{errors.Count} errors")}:\n{string.Join('\n', errors.Select(e => "  " + e))}")
{
    public IReadOnlyList<PolicyError> Errors => errors;
}
