using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using BuildRunner.Core.Recovery;

namespace BuildRunner.Core.Tests.Recovery;

public class EvidenceTests
{
    private static readonly DateTimeOffset From = new(2026, 10, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly DateTimeOffset To = new(2026, 11, 1, 0, 0, 0, TimeSpan.Zero);

    private static readonly DrillRecord Good = new()
    {
        Id = "drill-1", Type = "scheduled", Kind = "failover", Scenario = "primary_region_failure", StartedAt = From.AddDays(3), EndedAt = From.AddDays(3), Outcome = "success", Notes = "Ä „quoted“ \\ and ✓",
        RtoAchievedMinutes = 0.5, RpoAchievedMinutes = 0, RtoObjectiveMinutes = 30, RpoObjectiveMinutes = 15,
    };

    private static readonly Evidence Whole = new()
    {
        Server = "house", Version = "1.0", From = From, To = To, MadeAt = To.AddDays(1), MadeBy = "ada", Objectives = [new(From.AddDays(-9), null, "ada", "abc", 30, 15)], Drills = [Good],
        Moves = [], Backups = [new("b", From, "full", "good")], RestoreTests = [new("r", From, "restore", "good")], Approvals = [new("run-1", "decision", From, "ben", "approved", null)], Gaps = [],
    };

    private static readonly IReadOnlyList<EvidenceDue> Due = [new("failover", 1, null)];

    [Fact]
    public void Verify_AsWritten_IsGenuine_AndReadsTheSame()
    {
        var (file, fingerprint) = Sign(Whole);
        var genuine = Assert.IsType<EvidenceVerdict.Genuine>(EvidenceFile.Verify(file, null));
        Assert.False(genuine.Vouched);
        Assert.Equal(fingerprint, genuine.Fingerprint);
        Assert.Equal(EvidenceFile.Text(Whole), EvidenceFile.Text(genuine.Evidence));
        Assert.True(Assert.IsType<EvidenceVerdict.Genuine>(EvidenceFile.Verify(file, fingerprint["SHA256:".Length..].ToUpperInvariant())).Vouched);
    }

    [Fact]
    public void Verify_OneByteChangedAnywhere_IsNeverGenuine()
    {
        var (file, _) = Sign(Whole);
        for (var at = 0; at < file.Length; at++)
        {
            foreach (var flip in new byte[] { 0x01, 0x20, 0x80 })
            {
                var changed = file.ToArray();
                changed[at] ^= flip;
                Assert.False(EvidenceFile.Verify(changed, null) is EvidenceVerdict.Genuine, $"byte {at} with {flip:x2}");
            }
        }
    }

    [Fact]
    public void Verify_AddedTakenAwayOrLaidOutOtherwise_IsNotGenuine()
    {
        var file = Sign(Whole).File;
        var text = Encoding.UTF8.GetString(file);
        foreach (var changed in new[] { text + "\n", text.TrimEnd(), " " + text, text.Replace(",", ", ", StringComparison.Ordinal), "{\"a\":1," + text[1..], text.Replace("\"signature\":", "\"signature\": ", StringComparison.Ordinal) })
            Assert.IsNotType<EvidenceVerdict.Genuine>(EvidenceFile.Verify(Encoding.UTF8.GetBytes(changed), null));
        Assert.IsType<EvidenceVerdict.Unreadable>(EvidenceFile.Verify("{}"u8.ToArray(), null));
        Assert.IsType<EvidenceVerdict.Unreadable>(EvidenceFile.Verify("hello"u8.ToArray(), null));
    }

    [Fact]
    public void Verify_SignedByAnother_IsAStranger_AndAnothersSignatureOnThisTextIsForged()
    {
        var (file, _) = Sign(Whole);
        Assert.IsType<EvidenceVerdict.Stranger>(EvidenceFile.Verify(file, "SHA256:00"));
        var other = Sign(Whole with { MadeBy = "eve" }).File;
        using var mine = JsonDocument.Parse(file);
        using var theirs = JsonDocument.Parse(other);
        var mixed = Encoding.UTF8.GetBytes($"{{\"evidence\":{Encoding.UTF8.GetString(CanonicalJson.Write(mine.RootElement.GetProperty("evidence")))},\"signature\":{Encoding.UTF8.GetString(CanonicalJson.Write(theirs.RootElement.GetProperty("signature")))}}}\n");
        Assert.IsType<EvidenceVerdict.Forged>(EvidenceFile.Verify(mixed, null));
    }

    [Fact]
    public void Canonical_OrderAndSpaceDoNotMatter_TextDoes()
    {
        Assert.Equal("""{"a":[1.50,null,"ä\"\n"],"b":{"x":true,"y":1e3}}""", Canonical("""{ "b": {"y": 1e3, "x": true}, "a": [ 1.50, null, "ä\u0022\n" ] }"""));

        static string Canonical(string text)
        {
            using var document = JsonDocument.Parse(text);
            return Encoding.UTF8.GetString(CanonicalJson.Write(document.RootElement));
        }
    }

    [Fact]
    public void Gaps_APeriodThatProvesEverything_HasNone() => Assert.Empty(EvidenceGaps.Of(Whole, Due, From.AddDays(-30)));

    public static TheoryData<string, Evidence, EvidenceDue, DateTimeOffset?> Missing => new()
    {
        { "Nothing is known from before", Whole, Due[0], From.AddDays(2) },
        { "recorded nothing at all", Whole, Due[0], null },
        { "ends on", Whole with { MadeAt = From }, Due[0], From },
        { "at the beginning of the period is not known", Whole with { Objectives = [new(From.AddDays(1), null, "ada", "abc", 30, 15)] }, Due[0], From },
        { "were not recorded", Whole with { Objectives = [new(From, null, "ada", "abc", null, 15)] }, Due[0], From },
        { "it was due 4 times, and only evaluated 1 times", Whole with { Drills = [Good with { DryRun = true }] }, new EvidenceDue("failover", 4, null), From },
        { "succeeded 1 times and were due 4 times", Whole, new EvidenceDue("failover", 4, null), From },
        { "was possible: later", Whole, new EvidenceDue("disaster", 1, "later"), From },
        { "ended failed", Whole with { Drills = [Good, Good with { Id = "drill-2", Outcome = "failed" }] }, Due[0], From },
        { "ended aborted by outage_max", Whole with { Drills = [Good, Good with { Id = "drill-2", Outcome = "aborted", AbortedBy = "outage_max" }] }, Due[0], From },
        { "not fully measured", Whole with { Drills = [Good with { RpoAchievedMinutes = null }] }, Due[0], From },
        { "missed an objective", Whole with { Drills = [Good with { RtoAchievedMinutes = 31 }] }, Due[0], From },
        { "took 31 min", Whole with { Moves = [Move with { RtoMinutes = 31, LostCommits = 0 }] }, Due[0], From },
        { "lost 16 min of commits", Whole with { Moves = [Move with { LostSeconds = 960, LostCommits = 3 }] }, Due[0], From },
        { "lost is unknown", Whole with { Moves = [Move] }, Due[0], From },
        { "ended rolled_back", Whole with { Moves = [Move with { State = "rolled_back", LostCommits = 0 }] }, Due[0], From },
        { "No backup is recorded", Whole with { Backups = [] }, Due[0], From },
        { "No restore was tried", Whole with { RestoreTests = [] }, Due[0], From },
    };

    [Theory]
    [MemberData(nameof(Missing))]
    public void Gaps_WhatIsMissing_IsNamed(string says, Evidence evidence, EvidenceDue due, DateTimeOffset? since) =>
        Assert.Contains(says, Assert.Single(EvidenceGaps.Of(evidence, [due], since)), StringComparison.Ordinal);

    private static EvidenceMove Move => new() { Run = "failover-1", Runbook = "failover", StartedAt = From.AddDays(1), State = "succeeded", Actor = "ada", Reason = "fire", RtoMinutes = 1 };

    private static (byte[] File, string Fingerprint) Sign(Evidence evidence)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var open = key.ExportSubjectPublicKeyInfo();
        var signature = new EvidenceSignature
        {
            Algorithm = EvidenceSignature.Ecdsa, Fingerprint = EvidenceFile.Fingerprint(open), PublicKey = Convert.ToBase64String(open),
            Value = Convert.ToBase64String(key.SignData(EvidenceFile.Text(evidence), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)),
        };
        return (EvidenceFile.Write(evidence, signature), signature.Fingerprint);
    }
}
