namespace BuildRunner.Bench;

/// <summary>A system under one set of settings, started once, and the cases that it goes through: each so many times.</summary>
internal sealed record BenchGroup(string System, string Settings, IReadOnlyList<(RecoveryCase Case, int Runs)> Cases);
