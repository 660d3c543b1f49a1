using BuildRunner.Core.Runbooks;
using BuildRunner.Server.Policy;

namespace BuildRunner.Server.Runbooks;

/// <summary>From a runbook's bytes to what they mean: the one way in.</summary>
internal static class RunbookFile
{
    public static RunbookBinding Bind(ReadOnlyMemory<byte> bytes, string file)
    {
        var text = PolicyText.Read(bytes, file, "runbook");
        return RunbookYaml.Bind(text.Root, text.Errors);
    }
}
