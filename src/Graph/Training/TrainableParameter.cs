using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training;

/// <summary>A tensor that training changes: an input of the training, eval and optimizer models.</summary>
public sealed class TrainableParameter
{
    private string? _fileKey;
    private string? _gradientKey;

    /// <summary>Name of the graph input, for example <c>model.layers.0.self_attn.q_proj.lora_A.weight</c>.</summary>
    public required string Name { get; init; }

    /// <summary>Value at the first step; fp32.</summary>
    public required ITensor InitialValue { get; init; }

    /// <summary>Parameter group, whose learning rate and weight decay apply; see <see cref="ParameterGroup"/>.</summary>
    public string Group { get; init; } = ParameterGroup.DefaultName;

    /// <summary>Key of the tensor in adapter and gradient files; the name if not set.</summary>
    public string FileKey
    {
        get => _fileKey ?? Name;
        init => _fileKey = value;
    }

    /// <summary>Key of the tensor's gradient in gradient files; <see cref="FileKey"/> if not set.</summary>
    public string GradientKey
    {
        get => _gradientKey ?? FileKey;
        init => _gradientKey = value;
    }

    /// <summary>
    /// Symmetric matrix [columns, columns] by which the optimizer multiplies the clipped gradient from the right (LoRA-FA); null
    /// for none.
    /// </summary>
    public ITensor? Preconditioner { get; init; }

    /// <summary>
    /// Whether files hold the matrix transposed: they follow PyTorch ([out, in]), the graph follows the model's
    /// initializer. Never so for the adapter's own tensors.
    /// </summary>
    public bool IsTransposedInFile { get; init; }

    /// <summary>Number of elements.</summary>
    public long ElementCount => InitialValue.ElementCount();

    /// <summary>The same parameter in another group.</summary>
    internal TrainableParameter In(string group) => new()
    {
        Name = Name,
        InitialValue = InitialValue,
        Group = group,
        _fileKey = _fileKey,
        _gradientKey = _gradientKey,
        Preconditioner = Preconditioner,
        IsTransposedInFile = IsTransposedInFile,
    };

    /// <summary>A value or gradient of this parameter as files hold it.</summary>
    public ITensor ToFile(ITensor value) => IsTransposedInFile ? new TransposedTensor(value) : value;
}
