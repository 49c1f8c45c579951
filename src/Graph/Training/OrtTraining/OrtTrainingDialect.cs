using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Optimizers;

namespace OrtQLoRA.Graph.Training.OrtTraining;

/// <summary>
/// The dialect <c>ort-training</c>: exactly what the training session of ONNX Runtime 1.18 and 1.19 loads.
/// </summary>
/// <remarks>
/// Training model, inputs: user inputs, parameters (frozen ones too, if they lie in the checkpoint), accumulation buffers,
/// <c>lazy_reset_grad</c>; outputs: the loss, then for each parameter the flag of its accumulation. Eval model, inputs: user inputs, the same
/// parameters in the same order, by which the session feeds them; outputs: the loss, then the model's. The backward pass is the
/// one of the session dialect, standard operators; only accumulation and optimizer are operators of the training build.
/// </remarks>
public sealed class OrtTrainingDialect : ArtifactDialect
{
    private const string Accumulator = "InPlaceAccumulatorV2";

    private readonly OrtTrainingOptions _options;

    /// <summary>Creates the dialect.</summary>
    /// <param name="options">What can be chosen; null for the defaults.</param>
    /// <exception cref="ConfigurationException">The options contradict each other.</exception>
    public OrtTrainingDialect(OrtTrainingOptions? options = null)
    {
        _options = options ?? new OrtTrainingOptions();
        if (_options.AveragedMicroBatches < 1 || (_options.HasEngineInputs && _options.AveragedMicroBatches != 1))
        {
            throw new ConfigurationException(
                $"Gradients of {_options.AveragedMicroBatches} micro-batches are to be averaged{(_options.HasEngineInputs ? " beside an input for their weight" : "")}; it must be 1 or more, and 1 beside such an input.");
        }
    }

    /// <inheritdoc/>
    public override string Name => "ort-training";

    internal override Value? AddLossWeight(OnnxGraph graph)
    {
        if (_options.HasEngineInputs)
        {
            return graph.AddInput(ArtifactNames.LossWeight, DataType.Float, Shape.Scalar);
        }

        return _options.AveragedMicroBatches == 1
            ? null
            : graph.AddInitializer(graph.Names.Reserve(ArtifactNames.LossWeight), DenseTensor.Scalar(1f / _options.AveragedMicroBatches));
    }

    internal override void Accumulate(OnnxModel model, GraphBuilder builder, IReadOnlyList<(Value Parameter, Value Gradient)> gradients)
    {
        model.OpsetImports[OperatorDomains.Microsoft] = OrtTrainingHeader.MicrosoftVersion;
        OnnxGraph graph = builder.Graph;
        RequireNames(graph.Inputs, "input");
        Value reset = graph.AddInput(OrtTrainingNames.LazyResetGradient, DataType.Bool, Shape.Of(1));
        foreach ((Value parameter, Value gradient) in gradients)
        {
            Value buffer = graph.AddInput(ArtifactNames.AccumulationBuffer(parameter.Name), parameter.Type);
            Value updated = builder.Emit(Accumulator, OperatorDomains.Microsoft, [buffer, gradient, reset], 1).Outputs[0];
            updated.Name = ArtifactNames.AccumulationOutput(parameter.Name);
            graph.AddOutput(updated);
        }
    }

    internal override OnnxModel BuildOptimizer(
        IOptimizerDefinition optimizer,
        IReadOnlyList<TrainableParameter> parameters,
        IReadOnlyList<ParameterGroup> groups,
        double maxGradNorm,
        Func<string, bool>? isNative) =>
        OrtOptimizerModelBuilder.Build(optimizer, groups, maxGradNorm, _options);

    internal override void Finish(TrainingArtifacts artifacts, OnnxModel original)
    {
        RequireNames(artifacts.EvalModel.Graph.Outputs, "output");
        OnnxGraph training = artifacts.TrainingModel.Graph;
        if (!_options.HasEngineInputs)
        {
            DrawPassNumber(training, artifacts.TrainingModel.Opset);
        }

        string[] fedByEngine = [.. training.Inputs.Select(i => i.Name).Where(n => n is ArtifactNames.LossWeight or ArtifactNames.Pass)];
        artifacts.FrozenParameters = _options.FrozenInCheckpoint ? MoveFrozenToInputs(artifacts, original.Graph) : [];
        HashSet<string> trained = [.. artifacts.Parameters.Select(p => p.Name)];
        string[] parameters = InFileOrder(original, trained.Concat(artifacts.FrozenParameters.Select(f => f.Name)));
        training.OrderInputs([
            .. artifacts.UserInputs,
            .. fedByEngine,
            .. parameters,
            .. parameters.Where(trained.Contains).Select(ArtifactNames.AccumulationBuffer),
            OrtTrainingNames.LazyResetGradient,
        ]);
        artifacts.EvalModel.Graph.OrderInputs([.. artifacts.UserInputs, .. parameters]);
        OrtTrainingHeader.Apply(artifacts.TrainingModel, "training");
        OrtTrainingHeader.Apply(artifacts.EvalModel, "eval");
    }

    /// <summary>
    /// Weights of the base in the order of the model's file, then what the adapter added: the order of the flat buffers in
    /// which programs read and write parameters.
    /// </summary>
    private static string[] InFileOrder(OnnxModel original, IEnumerable<string> parameters)
    {
        Dictionary<string, int> positions = original.Graph.Initializers.Select((v, i) => (v.Name, i)).ToDictionary(StringComparer.Ordinal);
        return [.. parameters.OrderBy(n => positions.GetValueOrDefault(n, int.MaxValue))];
    }

    /// <summary>
    /// Draws the number of the pass, from which dropout and noise take their masks, where no engine feeds it: a random
    /// operator keeps its state in the session, so that each step has another.
    /// </summary>
    private static void DrawPassNumber(OnnxGraph graph, long opset)
    {
        if (graph.Inputs.FirstOrDefault(i => i.Name == ArtifactNames.Pass) is not Value pass)
        {
            return;
        }

        GraphBuilder builder = new(graph, opset, graph.First) { Scope = "pass/" };
        Value number = builder.Op("RandomUniform", [], ("shape", new long[] { 1 }), ("high", (float)PassRandom.Modulus));
        pass.ReplaceAllUsesWith(builder.Squeeze(builder.Cast(number, DataType.Int64), 0));
        graph.RemoveInput(pass);
    }

    /// <summary>Refuses names that the session would take for gradients of its own.</summary>
    private static void RequireNames(IEnumerable<Value> values, string what)
    {
        string[] faults =
        [
            .. values.Where(v => OrtTrainingNames.IsReserved(v.Name)).Select(v =>
                $"The model's {what} '{v.Name}' has a name that ONNX Runtime's training session keeps for itself ({OrtTrainingNames.LazyResetGradient}, or ending in "
                + $"{string.Join(", ", OrtTrainingNames.GradientEndings)}). Rename it in the model."),
        ];
        if (faults.Length > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    /// <summary>Turns the file's weights that both models hold into inputs; scales of quantized weights stay beside them.</summary>
    private static List<FrozenParameter> MoveFrozenToInputs(TrainingArtifacts artifacts, OnnxGraph original)
    {
        OnnxGraph training = artifacts.TrainingModel.Graph;
        OnnxGraph eval = artifacts.EvalModel.Graph;
        HashSet<string> known = [.. original.Initializers.Select(i => i.Name)];
        List<FrozenParameter> frozen = [];
        foreach (Value value in training.Initializers.Where(v => known.Contains(v.Name) && IsWeight(v)).ToArray())
        {
            if (eval.TryGetValue(value.Name, out Value? other) && ReferenceEquals(other.Initializer, value.Initializer))
            {
                frozen.Add(new FrozenParameter(value.Name, value.Initializer!));
                training.ConvertInitializerToInput(value);
                eval.ConvertInitializerToInput(other);
            }
        }

        return frozen;
    }

    private static bool IsWeight(Value value) => value.ElementType == DataType.Float
        && value.Initializer!.ElementCount() > 1
        && !value.Uses.Any(u => u.Node.Is("DequantizeLinear"));
}
