namespace BuildRunner.Dev;

/// <summary>A region of the sandbox: its number is the third byte of its address and the second byte of what it sees of others.</summary>
internal sealed record DevRegion(string Code, int Number, bool HasDatabase)
{
    public static readonly IReadOnlyList<DevRegion> All =
    [
        new("us-east-1", 1, true),
        new("us-west-1", 2, true),
        new("eu-west-1", 3, true),
        new("ap-south-1", 4, false),
    ];

    public const int ServerNumber = 9;

    public string Host => $"127.0.{Number}.1";

    /// <summary>Time there and back between two regions as the internet has it; zero to and from the server, which stands in no region.</summary>
    public static TimeSpan RoundTrip(int a, int b) => (Math.Min(a, b), Math.Max(a, b)) switch
    {
        (1, 2) => TimeSpan.FromMilliseconds(62),
        (1, 3) => TimeSpan.FromMilliseconds(76),
        (2, 3) => TimeSpan.FromMilliseconds(138),
        (1, 4) => TimeSpan.FromMilliseconds(187),
        (2, 4) => TimeSpan.FromMilliseconds(222),
        (3, 4) => TimeSpan.FromMilliseconds(122),
        _ => TimeSpan.Zero,
    };

    public static DevRegion Find(string code) => All.FirstOrDefault(r => r.Code == code)
        ?? throw new Cli.CliException(Cli.ExitCode.Usage, $"'{code}' is no region of the sandbox; it has {string.Join(", ", All.Select(r => r.Code))}.");
}
