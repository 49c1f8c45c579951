using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>A small, self-contained change of a model. Passes state what they require; see <see cref="PassPipeline"/>.</summary>
public abstract class GraphPass
{
    /// <summary>Name for messages: the class name without its suffix.</summary>
    public virtual string Name => GetType().Name is { } name && name.EndsWith("Pass", StringComparison.Ordinal) ? name[..^4] : GetType().Name;

    /// <summary>Changes the model in place.</summary>
    /// <returns>Whether anything changed.</returns>
    public abstract bool Run(OnnxModel model);
}
