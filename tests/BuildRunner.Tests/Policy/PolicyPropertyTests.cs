using System.Text;
using BuildRunner.Core.Policy;
using BuildRunner.Server.Policy;
using CsCheck;

namespace BuildRunner.Tests.Policy;

[Trait("Category", "unit")]
public class PolicyPropertyTests
{
    private static readonly byte[] Shipped = Encoding.UTF8.GetBytes(Policies.Shipped);
    private static readonly Dictionary<string, string> None = [];

    /// <summary>Whole values for keys, so that many changed policies are still good ones.</summary>
    private static readonly string[] Values = ["true", "false", "0", "1", "7", "400ms", "1.5s", "90s", "5m", "30 days", "1.0%", "33.3333%", "10MB", "\"0 5 * * 1\"", "us-west-1", "standby", "[]", "{}", "~", "[us-east-1]", "observe", "\"ü €\"", "/a/*"];

    [Fact]
    public void Bind_AnyBytes_NeverThrows() =>
        Gen.Select(Gen.Int[0, Shipped.Length - 1], Gen.Byte, Gen.Int[0, 3]).Array[1, 12].Sample(changes =>
        {
            var bytes = new List<byte>(Shipped);
            foreach (var (at, value, how) in changes)
            {
                var place = at % bytes.Count;
                switch (how)
                {
                    case 0: bytes[place] = value; break;
                    case 1: bytes.Insert(place, value); break;
                    case 2: bytes.RemoveRange(place, Math.Min(value, bytes.Count - place - 1)); break;
                    default: bytes.InsertRange(place, bytes.GetRange(at / 2 % bytes.Count, Math.Min(value, bytes.Count - (at / 2 % bytes.Count)))); break;
                }
            }
            Holds([.. bytes]);
        }, iter: 400);

    [Fact]
    public void Bind_AnyValues_RenderBindsToTheSame()
    {
        var good = 0;
        var keyed = Policies.Shipped.Split('\n').Select((line, i) => (line, i)).Where(l => l.line.Contains(": ", StringComparison.Ordinal)).Select(l => l.i).ToArray();
        Gen.Select(Gen.Int[0, keyed.Length - 1], Gen.Int[0, Values.Length - 1]).Array[1, 3].Sample(changes =>
        {
            var lines = Policies.Shipped.Split('\n');
            foreach (var (key, value) in changes)
                lines[keyed[key]] = lines[keyed[key]].Split(": ")[0] + ": " + Values[value];
            if (Holds(Encoding.UTF8.GetBytes(string.Join('\n', lines))))
                Interlocked.Increment(ref good);
        }, iter: 1500);
        Assert.True(good > 20, $"Only {good} of the changed policies were good: the property has tested nothing.");
    }

    [Fact]
    public void Render_Shipped_BindsToTheSame() => Assert.True(Holds(Shipped));

    [Fact]
    public void Duration_AnyTicks_WritesAndReadsTheSame() => Gen.Long[0, TimeSpan.FromDays(3650).Ticks].Sample(ticks =>
        Units.TryDuration(Units.Write(new TimeSpan(ticks - (ticks % 10_000))), out var read, out _, out _) && read.Ticks == ticks - (ticks % 10_000));

    /// <summary>Errors with places, or a document that renders to a policy that binds to the same; true for the latter.</summary>
    private static bool Holds(byte[] bytes)
    {
        var binding = PolicyFile.Bind(bytes, "policy.yml", None);
        if (binding.Document is null)
        {
            Assert.NotEmpty(binding.Errors);
            Assert.All(binding.Errors, e => Assert.True(e.At.Line >= 1 && e.At.Column >= 1 && e.Message.Length > 0 && e.Fix.Length > 0, e.ToString()));
            return false;
        }
        var rendered = PolicyBinder.Render(binding.Document);
        var again = PolicyFile.Bind(Encoding.UTF8.GetBytes(rendered), "policy.yml", None);
        Assert.True(again.Document is not null, string.Join('\n', again.Errors));
        Assert.Equal(rendered, PolicyBinder.Render(again.Document));
        Assert.Equal(binding.Values.Select(v => (v.Path, v.Value)), again.Values.Select(v => (v.Path, v.Value)));
        return true;
    }
}
