using System.Text;
using BuildRunner.Server.Storage;

namespace BuildRunner.Server.Hosting;

/// <summary>Writes a file whole or not at all: a reader sees the old content or the new, also after a loss of power.</summary>
public static class AtomicFile
{
    public const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    public const UnixFileMode Readable = OwnerOnly | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    /// <param name="path">The file.</param>
    /// <param name="content">All that it holds from now on.</param>
    /// <param name="mode">Who may read it.</param>
    /// <param name="durable">False: after a loss of power it may be missing or empty; for what is written anew at every start.</param>
    public static void Write(string path, ReadOnlySpan<byte> content, UnixFileMode mode = OwnerOnly, bool durable = true)
    {
        path = Path.GetFullPath(path);
        var temporary = $"{path}.{Guid.NewGuid():N}.tmp";
        try
        {
            using (var file = new FileStream(temporary, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = OwnerOnly, BufferSize = 0 }))
            {
                file.Write(content);
                if (mode != OwnerOnly)
                    File.SetUnixFileMode(file.SafeFileHandle, mode);
                if (durable)
                    file.Flush(flushToDisk: true);
            }
            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
        if (durable)
            Directories.Sync(Path.GetDirectoryName(path)!);
    }

    public static void Write(string path, string content, UnixFileMode mode = OwnerOnly) => Write(path, Encoding.UTF8.GetBytes(content), mode);

    /// <summary>Removes a file for good; true when it was there.</summary>
    public static bool Delete(string path)
    {
        path = Path.GetFullPath(path);
        if (!File.Exists(path))
            return false;
        File.Delete(path);
        Directories.Sync(Path.GetDirectoryName(path)!);
        return true;
    }
}
