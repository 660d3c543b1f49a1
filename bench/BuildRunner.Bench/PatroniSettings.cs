using BuildRunner.Tests.Support;

namespace BuildRunner.Bench;

/// <summary>What decides how soon Patroni and the load balancer before it act; `Check` is haproxy's `default-server`.</summary>
internal sealed record PatroniSettings(PatroniTimes Times, string Check)
{
    /// <summary>Patroni's defaults, and the checks of the haproxy.cfg that it ships.</summary>
    public static readonly PatroniSettings Defaults = new(new(30, 10, 10), "inter 3s fall 3 rise 2");

    /// <summary>The least values that Patroni's documentation allows (loop_wait + 2 × retry_timeout ≤ ttl), and checks six times as frequent.</summary>
    public static readonly PatroniSettings Minimum = new(new(20, 1, 3), "inter 500ms fall 2 rise 1");

    public static PatroniSettings Of(string name) => name == "minimum" ? Minimum : Defaults;
}
