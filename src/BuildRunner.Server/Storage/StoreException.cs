namespace BuildRunner.Server.Storage;

/// <summary>The store cannot do what was asked: a limit is crossed, the disk is full, the file is damaged or newer than this program. The message says what to do.</summary>
public sealed class StoreException(string message, Exception? inner = null) : Exception(message, inner);
