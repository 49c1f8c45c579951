namespace OrtQLoRA.Trainer.Configuration;

/// <summary>What a model is trained to do; decides the loss and the form of labels.</summary>
public enum TrainingTask
{
    /// <summary>Predict the next token at each position.</summary>
    CausalLm,

    /// <summary>Tell the class of the whole sequence.</summary>
    SequenceClassification,

    /// <summary>Tell the class of each token.</summary>
    TokenClassification,

    /// <summary>Write an output sequence for an input (encoder-decoder models): the decoder's logits are held against the labels without a shift.</summary>
    SequenceToSequence,

    /// <summary>Reach given numbers (mean squared error).</summary>
    Regression,

    /// <summary>Bring texts that belong together near each other, and away from the others of their batch.</summary>
    Embedding,
}
