using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training;

/// <summary>A tensor that training changes: an input of the training, eval and optimizer models.</summary>
public sealed class TrainableParameter
{
    /// <summary>Name of the graph input, for example <c>model.layers.0.self_attn.q_proj.lora_A.weight</c>.</summary>
    public required string Name { get; init; }

    /// <summary>Value at the first step; fp32.</summary>
    public required ITensor InitialValue { get; init; }

    /// <summary>Parameter group, whose learning rate and weight decay apply; see <see cref="ParameterGroup"/>.</summary>
    public string Group { get; init; } = ParameterGroup.DefaultName;

    /// <summary>Number of elements.</summary>
    public long ElementCount => InitialValue.ElementCount();
}
