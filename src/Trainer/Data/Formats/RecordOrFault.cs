namespace OrtQLoRA.Trainer.Data.Formats;

/// <summary>What a reader makes of one place in a file: a record, or why there is none, so that it can go on behind it.</summary>
/// <param name="Record">The record; valid until the next is asked for.</param>
/// <param name="Fault">What is wrong.</param>
internal readonly record struct RecordOrFault(DataRecord? Record, TrainingDataException? Fault);
