using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Rewriting;

namespace OrtQLoRA.Graph.Training;

/// <summary>What a training graph is to be made of.</summary>
public sealed class TrainingGraphOptions
{
    /// <summary>The adapter method.</summary>
    public required IAdapterMethod Method { get; init; }

    /// <summary>The method's configuration.</summary>
    public required AdapterConfig Adapter { get; init; }

    /// <summary>Tensors to start from instead of the method's own first values; null for those.</summary>
    public AdapterWeights? InitialWeights { get; init; }

    /// <summary>Statistics of the layers' inputs, for initializations that look at data (EVA, CorDA); null without.</summary>
    public ILayerStatistics? Statistics { get; init; }

    /// <summary>The loss.</summary>
    public required ILossHead Loss { get; init; }

    /// <summary>Name of the model's output that the loss is taken of.</summary>
    public required string LossOutput { get; init; }

    /// <summary>Format to which frozen weights are quantized; null leaves them as they are.</summary>
    public IWeightFormat? WeightFormat { get; init; }

    /// <summary>Which modules are quantized; null takes <see cref="WeightQuantizationPass.IsQuantizedByDefault"/>.</summary>
    public Func<LinearModule, bool>? QuantizedModules { get; init; }

    /// <summary>
    /// How the native operators multiply; null leaves everything to standard operators, which run without the native
    /// library.
    /// </summary>
    public Int8Compute? NativeOperators { get; init; }

    /// <summary>Names of the native operators that the device has kernels for; null for all.</summary>
    public IReadOnlyCollection<string>? AvailableOperators { get; init; }

    /// <summary>How the native operators want int8 weights laid out; null for <c>[K, N]</c>.</summary>
    public Int8WeightPacker? WeightPacker { get; init; }

    /// <summary>
    /// Type in which matrix products, and what lies between them, compute: <see cref="DataType.Float16"/> or
    /// <see cref="DataType.BFloat16"/>, for devices that have kernels for it; null leaves every operator the model's own type.
    /// </summary>
    public DataType? HalfPrecision { get; init; }

    /// <summary>The optimizer.</summary>
    public required IOptimizerDefinition Optimizer { get; init; }

    /// <summary>Norm to which gradients are clipped; 0 for no clipping.</summary>
    public double MaxGradNorm { get; init; }

    /// <summary>The group of each parameter, by name; null for one group that holds everything. Equal names must mean equal groups.</summary>
    public Func<TrainableParameter, ParameterGroup>? GroupOf { get; init; }

    /// <summary>Whether the backward pass computes values between decoder layers again instead of keeping them.</summary>
    public bool GradientCheckpointing { get; init; }

    /// <summary>Whether the backward pass computes native normalizations and activations again instead of keeping them; see <see cref="CheapRecomputationPass"/>.</summary>
    public bool RecomputesActivations { get; init; }

    /// <summary>
    /// Whether native products and norms add what their results are added to, instead of operators of its own doing so; see
    /// <see cref="SumFusionPass"/>.
    /// </summary>
    public bool FusesSums { get; init; }

    /// <summary>Whether rows may hold several examples that do not see each other; see <see cref="Packing.PackingPass"/>.</summary>
    public bool Packing { get; init; }

    /// <summary>Size of the noise on embeddings in training (NEFTune); null for none.</summary>
    public double? NeftuneAlpha { get; init; }

    /// <summary>For which engine; the session engine by default.</summary>
    public ArtifactDialect Dialect { get; init; } = SessionDialect.Instance;

    /// <summary>Seed of first values and dropout masks.</summary>
    public int Seed { get; init; }
}
