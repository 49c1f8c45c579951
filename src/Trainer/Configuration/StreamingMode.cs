namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Whether data are kept in memory or read as they are needed.</summary>
public enum StreamingMode
{
    /// <summary>In memory up to 64 MiB of files, streamed beyond.</summary>
    Auto,

    /// <summary>Always streamed.</summary>
    Always,

    /// <summary>Always in memory.</summary>
    Never,
}
