namespace Shop;

/// <summary>What one instance of Shop is told when it starts.</summary>
internal sealed record ShopOptions
{
    public const string Usage =
        "usage: shop --service api|reports|web|worker --port N [--host 127.0.0.1] [--region R] [--instance NAME] [--version v1|v2|bad|slow] --address-file PATH [--work-ms 15] [--watch-stdin]";

    public required string Service { get; init; }
    public string Host { get; init; } = "127.0.0.1";
    public required int Port { get; init; }
    public string Region { get; init; } = "local";
    public string Instance { get; init; } = "";
    public string Version { get; init; } = "v1";
    public required string AddressFile { get; init; }

    /// <summary>Median of the time that a request's own work takes beside the database's; stands for what a real application computes.</summary>
    public TimeSpan Work { get; init; } = TimeSpan.FromMilliseconds(15);

    /// <summary>End when standard input closes: whoever started it is gone.</summary>
    public bool WatchStdin { get; init; }

    public string ServedBy => $"{Region}/{Instance}/{Version}";

    /// <summary>Null, and what is wrong, when the arguments cannot be used.</summary>
    public static ShopOptions? Parse(IReadOnlyList<string> arguments, out string wrong)
    {
        var values = new Dictionary<string, string>();
        wrong = "";
        for (var i = 0; i < arguments.Count; i++)
        {
            var name = arguments[i];
            if (name == "--watch-stdin")
                values[name] = "";
            else if (name is not ("--service" or "--port" or "--host" or "--region" or "--instance" or "--version" or "--address-file" or "--work-ms"))
                wrong = $"'{name}' is no option.";
            else if (++i == arguments.Count)
                wrong = $"{name} needs a value.";
            else
                values[name] = arguments[i];
        }

        var service = values.GetValueOrDefault("--service", "");
        var version = values.GetValueOrDefault("--version", "v1");
        var workMs = 15.0;
        if (service is not ("api" or "reports" or "web" or "worker"))
            wrong = $"--service is api, reports, web or worker; it was '{service}'.";
        if (version is not ("v1" or "v2" or "bad" or "slow"))
            wrong = $"--version is v1, v2, bad or slow; it was '{version}'.";
        if (!int.TryParse(values.GetValueOrDefault("--port"), NumberStyles.None, CultureInfo.InvariantCulture, out var port) || port > 65535)
            wrong = "--port is a number up to 65535 (0: any free one).";
        if (values.TryGetValue("--work-ms", out var text) && !(double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out workMs) && workMs is >= 0 and <= 10_000))
            wrong = "--work-ms is 0 to 10000.";
        if (!values.TryGetValue("--address-file", out var file))
            wrong = "--address-file is needed: the agent's file that says where the database is.";
        if (wrong.Length > 0)
            return null;

        return new ShopOptions
        {
            Service = service,
            Host = values.GetValueOrDefault("--host", "127.0.0.1"),
            Port = port,
            Region = values.GetValueOrDefault("--region", "local"),
            Instance = values.GetValueOrDefault("--instance", $"{service}-1"),
            Version = version,
            AddressFile = file!,
            Work = TimeSpan.FromMilliseconds(workMs),
            WatchStdin = values.ContainsKey("--watch-stdin"),
        };
    }
}
