using System.CommandLine;

namespace BuildRunner.Cli;

/// <summary>`br completion SHELL`: a script that asks br itself what may come next, so that it never grows stale.</summary>
internal static class CompletionCommand
{
    private enum Shell
    {
        Bash,
        Zsh,
        Fish,
        Pwsh,
    }

    public static Command Build()
    {
        var shell = new Argument<Shell>("shell") { Description = "bash, zsh, fish or pwsh" };
        shell.CompletionSources.Clear();
        shell.CompletionSources.Add("bash", "zsh", "fish", "pwsh");
        return new Command("completion", "Prints the completion script of a shell: bash, zsh, fish or pwsh") { shell }.Does(context =>
        {
            Console.Out.Write(Script(context.Parse.GetRequiredValue(shell)));
            return Task.FromResult(ExitCode.Fine);
        });
    }

    private static string Script(Shell shell) => shell switch
    {
        Shell.Bash =>
            """
            # br completion for bash: source <(br completion bash)
            _br() {
              local IFS=$'\n'
              COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
            }
            complete -o default -F _br br ./br

            """,
        Shell.Zsh =>
            """
            #compdef br
            # br completion for zsh: br completion zsh > "${fpath[1]}/_br"
            _br() {
              local line="${words[1,CURRENT]}"
              local -a found
              found=("${(@f)$(br "[suggest:${#line}]" "$line" 2>/dev/null)}")
              compadd -- $found
            }
            compdef _br br

            """,
        Shell.Fish =>
            """
            # br completion for fish: br completion fish > ~/.config/fish/completions/br.fish
            complete -f -c br -a '(set -l line (commandline -cp); br "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null)'

            """,
        _ =>
            """
            # br completion for PowerShell: br completion pwsh | Out-String | Invoke-Expression
            Register-ArgumentCompleter -Native -CommandName br -ScriptBlock {
              param($word, $line, $position)
              br "[suggest:$position]" "$line" 2>$null | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }
            }

            """,
    };
}
