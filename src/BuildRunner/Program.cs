using BuildRunner.Cli;

if (StatusCommand.IsPlain(args))
    return await StatusCommand.RunPlainAsync();
return await CliApp.RunAsync(args);
