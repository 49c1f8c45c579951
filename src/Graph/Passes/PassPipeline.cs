using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>Runs passes in order and says which one failed and what ran before.</summary>
public sealed class PassPipeline : GraphPass
{
    private readonly IReadOnlyList<GraphPass> _passes;

    /// <summary>Creates a pipeline.</summary>
    public PassPipeline(params IEnumerable<GraphPass> passes)
    {
        _passes = [.. passes];
    }

    /// <summary>The passes in order.</summary>
    public IReadOnlyList<GraphPass> Passes => _passes;

    /// <inheritdoc/>
    /// <exception cref="PassException">A pass failed for a reason of its own; errors that are already ours pass through unchanged.</exception>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        List<string> done = [];
        foreach (GraphPass pass in _passes)
        {
            try
            {
                changed |= pass.Run(model);
            }
            catch (Exception e) when (e is not OrtQLoRAException and not OutOfMemoryException and not OperationCanceledException)
            {
                throw new PassException(pass.Name, done, e);
            }

            done.Add(pass.Name);
        }

        return changed;
    }
}
