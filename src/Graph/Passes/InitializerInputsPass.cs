using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Makes initializers that the graph's input list names too, as files below IR version 4 must, plain constants: the
/// caller can no longer feed other contents.
/// </summary>
public sealed class InitializerInputsPass : GraphPass
{
    private const long FirstVersionWithoutInputs = 4;

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        Value[] defaults = [.. model.Graph.Inputs.Where(i => i.Initializer is not null)];
        foreach (Value value in defaults)
        {
            model.Graph.RemoveInput(value);
            model.Graph.SetInitializer(value, value.Initializer!);
        }

        bool isOld = model.IrVersion < FirstVersionWithoutInputs;
        model.IrVersion = Math.Max(model.IrVersion, FirstVersionWithoutInputs);
        return isOld || defaults.Length > 0;
    }
}
