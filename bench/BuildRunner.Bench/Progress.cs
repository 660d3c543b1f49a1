using System.Diagnostics;

namespace BuildRunner.Bench;

/// <summary>One line on standard error that says where the measurement is; where that is no terminal, a line for each run.</summary>
internal sealed class Progress(int runs)
{
    private readonly long _begun = Stopwatch.GetTimestamp();
    private string _where = "";
    private int _done;

    public void At(string where)
    {
        _where = where;
        Say("");
    }

    public void Say(string what)
    {
        if (!Console.IsErrorRedirected)
            Console.Error.Write($"\r\e[K{Line(what)}");
    }

    public void Done(string result)
    {
        _done++;
        Console.Error.WriteLine($"{(Console.IsErrorRedirected ? "" : "\r\e[K")}{Line(result)}");
    }

    private string Line(string what) => string.Create(CultureInfo.InvariantCulture, $"{Stopwatch.GetElapsedTime(_begun):mm\\:ss}  {_done}/{runs}  {_where}{(what.Length > 0 ? ": " : "")}{what}");
}
