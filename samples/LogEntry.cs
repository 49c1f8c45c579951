namespace OrtQLoRA.Samples;

/// <summary>The beginning of an entry of the logbook.</summary>
/// <param name="Date">Day and month.</param>
/// <param name="Wind">Direction and force.</param>
/// <param name="Sky">The sky in words.</param>
/// <param name="Glass">Reading of the barometer.</param>
/// <param name="Text">All of it, as it stands in the book.</param>
internal sealed record LogEntry(string Date, string Wind, string Sky, string Glass, string Text);
