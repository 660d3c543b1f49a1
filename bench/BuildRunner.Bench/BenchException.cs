namespace BuildRunner.Bench;

/// <summary>What stands against the measurement, in a sentence for the person who asked for it.</summary>
internal sealed class BenchException(string message) : Exception(message);
