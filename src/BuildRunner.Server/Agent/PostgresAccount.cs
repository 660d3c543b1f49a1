using System.Diagnostics;

namespace BuildRunner.Server.Agent;

/// <summary>The user that PostgreSQL and its tools run as: `postgres` when the agent is root, which PostgreSQL refuses; else the agent's own.</summary>
internal sealed class PostgresAccount
{
    private const string Name = "postgres";

    public static PostgresAccount Find()
    {
        if (AgentNative.UserId() != 0)
            return new();
        foreach (var line in File.ReadLines("/etc/passwd"))
        {
            var fields = line.Split(':');
            if (fields.Length > 3 && fields[0] == Name)
                return new() { IsRoot = true, User = uint.Parse(fields[2], CultureInfo.InvariantCulture), Group = uint.Parse(fields[3], CultureInfo.InvariantCulture) };
        }
        throw new InvalidOperationException("There is no user `postgres`, as whom PostgreSQL runs when the agent is root. Install it: apt-get install postgresql");
    }

    private bool IsRoot { get; init; }
    private uint User { get; init; }
    private uint Group { get; init; }

    /// <summary>Makes a folder that PostgreSQL owns, mode 0700.</summary>
    public void MakeFolder(string path)
    {
        Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        Give(path);
    }

    /// <summary>Writes a file that PostgreSQL owns, mode 0600.</summary>
    public void Write(string path, string content) => Write(path, System.Text.Encoding.UTF8.GetBytes(content));

    /// <summary>Writes a file that PostgreSQL owns, mode 0600.</summary>
    public void Write(string path, byte[] content)
    {
        var next = $"{path}.next";
        File.WriteAllBytes(next, content);
        File.SetUnixFileMode(next, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Give(next);
        File.Move(next, path, overwrite: true);
    }

    public void Give(string path)
    {
        if (IsRoot)
            AgentNative.Chown(path, User, Group);
    }

    /// <summary>A command as that user; the kernel ends it when the thread that started it ends.</summary>
    public ProcessStartInfo Command(string program, IEnumerable<string> arguments, string folder)
    {
        var start = new ProcessStartInfo("setpriv") { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        start.ArgumentList.Add("--pdeathsig");
        start.ArgumentList.Add("KILL");
        if (IsRoot)
        {
            start.ArgumentList.Add($"--reuid={Name}");
            start.ArgumentList.Add($"--regid={Name}");
            start.ArgumentList.Add("--init-groups");
        }
        start.ArgumentList.Add("--");
        start.ArgumentList.Add(program);
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        return start;
    }
}
