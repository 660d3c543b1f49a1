namespace BuildRunner.Core.Alerting;

/// <summary>Texts of people and machines, made to fit.</summary>
public static class Texts
{
    /// <summary>At most so many characters; a cut one ends with an ellipsis.</summary>
    public static string Cut(string text, int max)
    {
        if (text.Length <= max)
            return text;
        var end = char.IsHighSurrogate(text[max - 2]) ? max - 2 : max - 1;
        return string.Concat(text.AsSpan(0, end), "…");
    }

    /// <summary>One line without control characters, cut to length.</summary>
    public static string Line(string text, int max) =>
        Cut(string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Select(word => string.Concat(word.Where(c => !char.IsControl(c))))), max);
}
