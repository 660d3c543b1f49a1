using BuildRunner.Cli;
using BuildRunner.Server.Agent;
using BuildRunner.Server.Guard;

// Before anything else and before any await: PostgreSQL's parent-death signal follows the thread that starts it.
if (args is ["guard", .. var guardArgs] && guardArgs is not ["--help" or "-h" or "-?", ..])
    return GuardProcess.Run(guardArgs);

if (args is [FaultHolder.Role, .. var held])
    return FaultHolder.Run(held);

if (StatusCommand.IsPlain(args))
    return await StatusCommand.RunPlainAsync();
return await CliApp.RunAsync(args);
