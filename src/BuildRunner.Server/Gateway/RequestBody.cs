using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace BuildRunner.Server.Gateway;

/// <summary>A request's body, kept when it is short enough to wait or to be sent again; a longer one streams through once.</summary>
internal sealed class RequestBody
{
    private readonly byte[]? _kept;

    private RequestBody(byte[]? kept) => _kept = kept;

    /// <summary>Whether the body can be sent a second time.</summary>
    public bool IsKept => _kept is not null;
    public int Bytes => _kept?.Length ?? 0;

    /// <summary>For methods that may write. Reads a body of at most <paramref name="max"/> bytes; a longer one is left to stream, with what was read put back in front.</summary>
    public static async Task<RequestBody> TakeAsync(HttpContext context, int max, CancellationToken cancel)
    {
        var request = context.Request;
        if (context.Features.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: false } || request.ContentLength == 0)
        {
            // A stated length of nothing is content to the connection pool, which sends a request without content again by itself
            // when a reused connection closes; one with content it never does.
            request.ContentLength = 0;
            return new RequestBody([]);
        }
        if (request.ContentLength > max)
            return new RequestBody(null);

        var buffer = new byte[(int)(request.ContentLength ?? Math.Min(max, 16 * 1024))];
        var count = 0;
        while (true)
        {
            if (count == buffer.Length)
            {
                if (request.ContentLength is not null)
                    return new RequestBody(buffer);
                if (buffer.Length >= max)
                    break;
                Array.Resize(ref buffer, Math.Min(max, buffer.Length * 2));
            }
            var read = await request.Body.ReadAsync(buffer.AsMemory(count), cancel);
            if (read == 0)
                return new RequestBody(buffer[..count]);
            count += read;
        }
        request.Body = new PrefixedStream(buffer, request.Body);
        return new RequestBody(null);
    }

    /// <summary>Puts the body in place for (another) sending.</summary>
    public void Rewind(HttpContext context)
    {
        if (_kept is { Length: > 0 })
            context.Request.Body = new MemoryStream(_kept, writable: false);
    }

    /// <summary>What was read already, then the rest.</summary>
    private sealed class PrefixedStream(byte[] prefix, Stream rest) : Stream
    {
        private int _at;

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_at == prefix.Length)
                return rest.ReadAsync(buffer, cancellationToken);
            var count = Math.Min(buffer.Length, prefix.Length - _at);
            prefix.AsMemory(_at, count).CopyTo(buffer);
            _at += count;
            return ValueTask.FromResult(count);
        }

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();
        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("Bodies are read asynchronously.");
        public override void Flush() { }
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
