namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Which tokens count in the loss of a causal language model.</summary>
public enum LossTokens
{
    /// <summary>Completions of prompts, the assistant's turns of conversations, all of plain texts.</summary>
    Auto,

    /// <summary>Every token.</summary>
    All,

    /// <summary>What follows the prompt; of a conversation, its last turn.</summary>
    Completion,

    /// <summary>Every turn of the assistant.</summary>
    Assistant,
}
