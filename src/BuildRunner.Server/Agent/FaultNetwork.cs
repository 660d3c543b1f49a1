using System.Diagnostics;
using BuildRunner.Server.Hosting;

namespace BuildRunner.Server.Agent;

/// <summary>Cuts this host off: by the supervisor's relays in `br dev`, else by packet filters. Both end by their own clock when nobody ends them.</summary>
internal abstract class FaultNetwork : IDisposable
{
    private const string Table = "buildrunner_fault";
    private static readonly string[] Places = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];

    /// <summary>Why no cut can be made here; null: it can.</summary>
    public static string? WhyNot() => Environment.GetEnvironmentVariable(UnixHttp.SupervisorVariable) is { Length: > 0 } ? null
        : Places.FirstOrDefault(File.Exists) is null ? "there is no nft here (package nftables)"
        : AgentNative.UserId() != 0 ? "the agent does not run as root, and only root may filter packets"
        : null;

    public static FaultNetwork Find() => WhyNot() is { } why ? throw new InvalidOperationException($"This host cannot be cut off: {why}.")
        : Environment.GetEnvironmentVariable(UnixHttp.SupervisorVariable) is { Length: > 0 } socket ? new Relays(socket)
        : new Filters(Places.First(File.Exists));

    /// <summary>Goes through the cut without making it: what would keep it from being made is said before anything is held to be broken.</summary>
    public abstract void Try(TimeSpan limit);

    /// <summary>Cuts, for at most so long.</summary>
    public abstract void Cut(string region, string run, TimeSpan limit);

    /// <summary>Mends; fine when it is mended.</summary>
    public abstract void Connect(string region, string run);

    public abstract void Dispose();

    private sealed class Relays(string socket) : FaultNetwork
    {
        private readonly HttpClient _http = UnixHttp.Open(socket, TimeSpan.FromSeconds(5));

        /// <summary>The supervisor is asked in the cut itself, and answers before it cuts.</summary>
        public override void Try(TimeSpan limit) { }

        public override void Cut(string region, string run, TimeSpan limit)
        {
            Post(string.Create(CultureInfo.InvariantCulture, $"/v1/regions/{region}/partition?silent=true&seconds={limit.TotalSeconds}&by={Uri.EscapeDataString(run)}"));
        }

        public override void Connect(string region, string run) => Post($"/v1/regions/{region}/connect?by={Uri.EscapeDataString(run)}");

        public override void Dispose() => _http.Dispose();

        private void Post(string path)
        {
            using var answer = _http.PostAsync(new Uri(path, UriKind.Relative), null).GetAwaiter().GetResult();
            if (!answer.IsSuccessStatusCode)
                throw new InvalidOperationException($"the supervisor answered {(int)answer.StatusCode}: {answer.Content.ReadAsStringAsync().GetAwaiter().GetResult()}");
        }
    }

    /// <summary>Everything but this host's talk to itself and port 22 is dropped. The words that it is dropped for time out in the kernel.</summary>
    private sealed class Filters(string nft) : FaultNetwork
    {
        private static readonly TimeSpan NftMax = TimeSpan.FromSeconds(5);

        public override void Dispose() { }

        public override void Try(TimeSpan limit) => Do(Script(limit), "--check");

        public override void Cut(string region, string run, TimeSpan limit) => Do(Script(limit));

        public override void Connect(string region, string run) => Do($"table inet {Table} {{}}\ndelete table inet {Table}\n");

        private static string Script(TimeSpan limit)
        {
            var ms = string.Create(CultureInfo.InvariantCulture, $"{(long)limit.TotalMilliseconds}ms");
            return $$"""
                table inet {{Table}} {}
                delete table inet {{Table}}
                table inet {{Table}} {
                  set cut { type inet_proto; flags timeout; elements = { tcp timeout {{ms}}, udp timeout {{ms}}, icmp timeout {{ms}} } }
                  chain in { type filter hook input priority -200; policy accept; iifname "lo" accept; tcp dport 22 accept; meta l4proto @cut drop; }
                  chain out { type filter hook output priority -200; policy accept; oifname "lo" accept; tcp sport 22 accept; meta l4proto @cut drop; }
                }
                """;
        }

        private void Do(string script, params ReadOnlySpan<string> more)
        {
            var start = new ProcessStartInfo(nft) { RedirectStandardInput = true, RedirectStandardError = true };
            foreach (var argument in (ReadOnlySpan<string>)[.. more, "-f", "-"])
                start.ArgumentList.Add(argument);
            using var process = Process.Start(start) ?? throw new InvalidOperationException($"{nft} did not start.");
            process.StandardInput.Write(script);
            process.StandardInput.Close();
            var wrong = process.StandardError.ReadToEnd();
            if (!process.WaitForExit(NftMax) || process.ExitCode != 0)
                throw new InvalidOperationException($"{nft} failed: {wrong.Trim().ReplaceLineEndings(" ")}");
        }
    }
}
