using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;

namespace OrtQLoRA.Graph.Training.OrtTraining;

/// <summary>
/// Builds the optimizer model of ONNX Runtime's training session: one node over sequences of all parameters, in front of it
/// the clipping of gradients. The session checks names and order of the inputs.
/// </summary>
internal static class OrtOptimizerModelBuilder
{
    private const string AdamW = "AdamWOptimizer";
    private const string Sgd = "SGDOptimizerV2";
    private const string Clip = "InplaceClipGradNorm";

    internal static OnnxModel Build(IOptimizerDefinition optimizer, IReadOnlyList<ParameterGroup> groups, double maxGradNorm, OrtTrainingOptions options)
    {
        Require(optimizer, groups, maxGradNorm, options);
        OnnxGraph graph = new("optimizer");
        OnnxModel model = new(graph) { Opset = OrtTrainingHeader.Opset, IrVersion = OrtTrainingHeader.IrVersion };
        model.OpsetImports[OperatorDomains.Microsoft] = OrtTrainingHeader.MicrosoftVersion;
        GraphBuilder builder = new(graph, model.Opset);
        Value rate = graph.AddInput(ArtifactNames.LearningRate, DataType.Float, Shape.Of(1));
        Value step = graph.AddInput(ArtifactNames.Step, DataType.Int64, Shape.Of(1));
        OnnxType sequence = new OnnxType.Sequence(new OnnxType.Tensor(DataType.Float, null));
        Value parameters = graph.AddInput(OrtTrainingNames.Parameters, sequence);
        Value gradients = graph.AddInput(OrtTrainingNames.Gradients, sequence);
        Value first = graph.AddInput(OrtTrainingNames.FirstMoments, sequence);

        if (options.LearningRateFactor != 1)
        {
            rate = builder.Mul(rate, builder.Constant(DenseTensor.Vector((float)options.LearningRateFactor)));
        }

        if (maxGradNorm > 0)
        {
            gradients = builder.Emit(Clip, OperatorDomains.Microsoft, [gradients], 1, ("max_norm", (float)maxGradNorm)).Outputs[0];
        }

        Node update = optimizer is AdamWOptimizer adam
            ? builder.Emit(
                AdamW,
                OperatorDomains.Microsoft,
                [rate, step, parameters, gradients, first, graph.AddInput(OrtTrainingNames.SecondMoments, sequence)],
                1,
                ("alpha", (float)adam.Beta1),
                ("beta", (float)adam.Beta2),
                ("epsilon", (float)adam.Eps),
                ("weight_decay", (float)(groups[0].WeightDecay ?? adam.WeightDecay)),
                ("correct_bias", 1L),
                ("adam_mode", (long)options.AdamW))
            : builder.Emit(Sgd, OperatorDomains.Microsoft, [rate, parameters, gradients], 1);
        Value updated = update.Outputs[0];
        updated.Name = "updated";

        // A shape declared for SGD's flag contradicts what the runtime infers, which it then complains about.
        updated.Type = new OnnxType.Tensor(DataType.Bool, optimizer is AdamWOptimizer ? Shape.Of(1) : null);
        graph.AddOutput(updated);
        return model;
    }

    private static void Require(IOptimizerDefinition optimizer, IReadOnlyList<ParameterGroup> groups, double maxGradNorm, OrtTrainingOptions options)
    {
        List<string> faults = [];
        if (optimizer is SgdOptimizer sgd)
        {
            if (sgd.Momentum != 0 || sgd.WeightDecay != 0)
            {
                faults.Add(
                    $"ONNX Runtime's {Sgd} knows neither momentum nor weight decay; they are {sgd.Momentum} and {sgd.WeightDecay}. "
                    + "Set both to 0, choose --optimizer adamw, or train with the session engine.");
            }
        }
        else if (optimizer is not AdamWOptimizer)
        {
            faults.Add($"ONNX Runtime's training session knows the optimizers adamw and sgd, not '{optimizer.Name}'. Choose one of them, or train with the session engine.");
        }

        if (!(maxGradNorm >= 0) || double.IsInfinity(maxGradNorm))
        {
            faults.Add($"The maximal gradient norm is {maxGradNorm}; it must be a finite number, or 0 for no clipping.");
        }

        if (!(options.LearningRateFactor > 0) || double.IsInfinity(options.LearningRateFactor))
        {
            faults.Add($"The factor of the learning rate is {options.LearningRateFactor}; it must be a finite number above 0.");
        }

        if (groups.Any(g => g.LearningRateFactor != 1) || groups.Select(g => g.WeightDecay ?? optimizer.WeightDecay).Distinct().Count() > 1)
        {
            faults.Add(
                "ONNX Runtime's training session has one parameter group with one learning rate and one weight decay; given are "
                + $"{string.Join(", ", groups.Select(g => $"{g.Name} (learning rate x {g.LearningRateFactor}, weight decay {g.WeightDecay ?? optimizer.WeightDecay})"))}. "
                + "Leave the groups out, or train with the session engine.");
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }
}
