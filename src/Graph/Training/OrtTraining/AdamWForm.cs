namespace OrtQLoRA.Graph.Training.OrtTraining;

/// <summary>The forms of AdamW that ONNX Runtime's operator knows (its attribute <c>adam_mode</c>).</summary>
public enum AdamWForm
{
    /// <summary>torch.optim.AdamW: decay before the update, epsilon beside the corrected second moment's root.</summary>
    Torch = 0,

    /// <summary>
    /// Hugging Face's former AdamW: decay after the update, epsilon beside the uncorrected root. What the official generator of
    /// artifacts writes.
    /// </summary>
    HuggingFace = 1,
}
