using OrtQLoRA.CustomOps;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Configuration;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Builds training graphs from options, for engines and for artifacts alike.</summary>
internal static class TrainingGraphSetup
{
    /// <summary>Builds the graph.</summary>
    /// <param name="model">The model; must outlive the result.</param>
    /// <param name="facts">Its facts.</param>
    /// <param name="settings">Adapter settings.</param>
    /// <param name="options">The run's options.</param>
    /// <param name="native">The native operators, if the graph may use them.</param>
    /// <param name="dialect">For which engine.</param>
    /// <param name="loss">Name of the loss; null for the task's.</param>
    /// <param name="isPortable">Whether the graph may run elsewhere: then weights stay in a layout that all devices know.</param>
    internal static TrainingGraph Build(
        OnnxModel model,
        ModelFacts facts,
        AdapterSettings settings,
        TrainingOptions options,
        CustomOpLibrary? native,
        ArtifactDialect dialect,
        string? loss = null,
        bool isPortable = false)
    {
        if (options.QuantExclude is not null)
        {
            QuantizedModules.RequireFound(LinearFinder.Find(model), options.QuantExclude);
        }

        return TrainingGraphBuilder.Build(model, new TrainingGraphOptions
        {
            Method = settings.Method,
            Adapter = settings.Config,
            InitialWeights = settings.Initial,
            Statistics = settings.Statistics,
            Loss = loss is null && settings.Task == TrainingTask.Embedding
                ? new ContrastiveLoss(options.Pooling, options.SimilarityScale)
                : LossHeads.Get(loss ?? OptionText.Name(settings.Task)),
            LossOutput = facts.LossOutput,
            WeightFormat = options.Quantization == QuantizationKind.None ? null : WeightFormatRegistry.Default.Get(OptionText.Name(options.Quantization)),
            QuantizedModules = QuantizedModules.Beside(settings.Config, options.QuantExclude),
            NativeOperators = native is null ? null : options.Compute,
            AvailableOperators = options.Device.IsCuda ? native?.CudaOperators : native?.Operators,
            WeightPacker = native is null || isPortable ? null : PackerOf(native, options.Device.IsCuda ? CustomOpLibrary.TileLayout : CustomOpLibrary.PanelLayout),
            HalfPrecision = options.Precision switch
            {
                ComputePrecision.Fp16 => DataType.Float16,
                ComputePrecision.Bf16 => DataType.BFloat16,
                _ => null,
            },
            Optimizer = OptimizerRegistry.Create(options.Optimizer),
            MaxGradNorm = options.MaxGradNorm,
            GroupOf = options.LoraPlusRatio is null && options.NoDecay is null ? null : new ParameterGrouping(options.LoraPlusRatio ?? 1, options.NoDecay ?? []).GroupOf,
            Packing = options.Packing,
            NeftuneAlpha = options.NeftuneAlpha,
            GradientCheckpointing = options.GradientCheckpointing,

            // Only engines of ours make the runtime run nodes where they stand, so that a copy comes into being as late as it is put.
            RecomputesActivations = !isPortable,

            // On a GPU an addition is a pass over memory of its own, which a product hides behind its arithmetic.
            FusesSums = options.Device.IsCuda,
            Dialect = dialect,
            Seed = unchecked((int)options.Seed),
        });
    }

    private static Int8WeightPacker PackerOf(CustomOpLibrary native, string layout) => new(layout, (q, k, n) => native.PackWeight(q.Span, "plain", k, n, layout));
}
