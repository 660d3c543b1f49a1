using BuildRunner.Cli;

return await CliApp.RunAsync(args);
