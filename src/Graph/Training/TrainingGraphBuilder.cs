using System.Globalization;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Passes.MixedPrecision;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Graph.Rewriting.Rules;
using OrtQLoRA.Graph.Training.Packing;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// Makes training artifacts from a model: normalise, simplify, quantize, insert the adapter, attach the loss, derive the
/// gradient, accumulate. The training and the eval model come from clones of one quantized model, so that they hold the
/// same frozen weights.
/// </summary>
public static class TrainingGraphBuilder
{
    // Parameters of a group whose states are compressed.
    private const long MostRestored = 1 << 20;

    /// <summary>Builds the artifacts.</summary>
    /// <param name="model">The model; not changed. It must outlive the result, which reads its mapped weights.</param>
    /// <param name="options">What the graph is made of.</param>
    /// <exception cref="ConfigurationException">The options do not fit the model.</exception>
    /// <exception cref="UnsupportedOpException">An operator between the loss and a trained tensor has no gradient rule.</exception>
    /// <exception cref="ModelFormatException">A weight cannot be quantized.</exception>
    public static TrainingGraph Build(OnnxModel model, TrainingGraphOptions options)
    {
        OnnxModel training = ModelCloner.Clone(model);
        if (options.Packing)
        {
            PackingPass.AlignInputs(training);
        }

        NormalisationPipeline.ForTrainingWithoutCache(MayBeTrained).Run(training);
        if (options.Packing)
        {
            new PackingPass().Run(training);
        }

        new SlicedWeightPass().Run(training);
        new RewritePass(new PowStrengthReduction()).Run(training);
        new DeadNodeEliminationPass().Run(training);
        DenseWeights.ExpandTrained(training, options.Adapter);
        BasePreparation preparation = BasePreparation.Run(
            training,
            options.Method,
            options.Adapter,
            options.InitialWeights,
            options.Seed,
            options.WeightFormat is { } format ? new BaseQuantization(format, options.QuantizedModules ?? WeightQuantizationPass.IsQuantizedByDefault) : null,
            options.Statistics);
        QuantizationReport quantization = Quantize(training, options);

        OnnxModel eval = ModelCloner.Clone(training);
        string[] modelInputs = [.. training.Graph.RequiredInputs.Select(i => i.Name)];
        InsertedAdapter evalAdapter = InsertAdapter(eval, options, preparation, null);
        InsertedAdapter adapter = InsertAdapter(training, options, preparation, evalAdapter);
        if (options.NeftuneAlpha is double alpha and > 0)
        {
            new EmbeddingNoisePass(alpha, options.Seed).Run(training);
        }

        AttachLoss(eval, options, evalAdapter);
        LossAttachment loss = AttachLoss(training, options, adapter);
        SetOutputs(training.Graph, [loss.Loss]);
        GradientOptions gradients = new();
        if (options.NativeOperators is { } compute)
        {
            NativeOperatorPass native = new(compute, adapter.Parameters.Select(p => p.Name), options.AvailableOperators, options.WeightPacker);
            native.Run(training);
            native.Run(eval);
            gradients = new GradientOptions { Rules = NativeGradientRules.CreateRegistry() };
        }

        UseHalfPrecision([training, eval], options.HalfPrecision);
        (IReadOnlyList<TrainableParameter> parameters, IReadOnlyList<ParameterGroup> groups) = Group(adapter.Parameters, options);
        Differentiate(training, loss, parameters, gradients, options);
        FinishHalfPrecision([training, eval], options.HalfPrecision);
        if (options.FusesSums)
        {
            new SumFusionPass().Run(training);
            new SumFusionPass().Run(eval);
        }

        Finish(training);
        Finish(eval);
        TrainingArtifacts artifacts = new()
        {
            TrainingModel = training,
            EvalModel = eval,
            OptimizerModel = options.Dialect.BuildOptimizer(
                options.Optimizer,
                parameters,
                groups,
                options.MaxGradNorm,
                options.NativeOperators is null ? null : name => options.AvailableOperators?.Contains(name) != false),
            Parameters = parameters,
            Groups = groups,
            OptimizerStates = options.Optimizer.States,
            UserInputs = [.. modelInputs, loss.Target.Name],
        };
        options.Dialect.Finish(artifacts, model);
        return new TrainingGraph { Adapter = adapter, Quantization = quantization, Artifacts = artifacts };
    }

    /// <summary>
    /// Whether constant folding must leave an initializer alone: any floating-point tensor that could be a weight, so that
    /// it keeps its name, by which adapters and exports find it.
    /// </summary>
    public static bool MayBeTrained(Value value) =>
        value.Initializer is { } content && content.ElementType.IsFloatingPoint() && content.ElementCount() > 1;

    private static QuantizationReport Quantize(OnnxModel model, TrainingGraphOptions options)
    {
        if (options.WeightFormat is null)
        {
            return new QuantizationReport("", []);
        }

        WeightQuantizationPass pass = new(options.WeightFormat, options.QuantizedModules);
        pass.Run(model);
        return pass.Report;
    }

    // The eval graph comes first; the training graph then takes over its frozen tensors.
    private static InsertedAdapter InsertAdapter(OnnxModel model, TrainingGraphOptions options, BasePreparation preparation, InsertedAdapter? eval)
    {
        AdapterInsertionPass pass = new(options.Method, options.Adapter)
        {
            IsTraining = eval is not null,
            Preparation = preparation,
            Frozen = eval?.Frozen.ToDictionary(f => f.Key.Name, f => f.Value),
            Seed = options.Seed,
            InitialWeights = options.InitialWeights,
        };
        pass.Run(model);
        if (pass.Inserted.Parameters.Count == 0)
        {
            throw new ConfigurationException($"Method '{options.Method.Name}' trains nothing in this model. Choose other target modules or another method.");
        }

        return pass.Inserted;
    }

    /// <summary>Puts parameters into their groups; groups stand in the order in which parameters first name them.</summary>
    private static (IReadOnlyList<TrainableParameter> Parameters, IReadOnlyList<ParameterGroup> Groups) Group(
        IReadOnlyList<TrainableParameter> parameters, TrainingGraphOptions options)
    {
        ParameterGroup all = new(ParameterGroup.DefaultName);
        ParameterGroup[] groups = [.. parameters.Select(p => options.GroupOf?.Invoke(p) ?? all)];
        if (options.Optimizer.States.Any(s => s.BlockSize is not null))
        {
            groups = Split(parameters, groups);
        }

        return ([.. parameters.Zip(groups, (p, g) => p.In(g.Name))], [.. groups.DistinctBy(g => g.Name)]);
    }

    // Compressed states are restored to floats for as long as their group's update takes: small groups keep that small.
    private static ParameterGroup[] Split(IReadOnlyList<TrainableParameter> parameters, IReadOnlyList<ParameterGroup> groups)
    {
        Dictionary<string, (int Part, long Count)> filled = [];
        return
        [
            .. parameters.Zip(groups, (parameter, group) =>
            {
                (int part, long count) = filled.GetValueOrDefault(group.Name);
                (part, count) = count > 0 && count + parameter.ElementCount > MostRestored ? (part + 1, 0) : (part, count);
                filled[group.Name] = (part, count + parameter.ElementCount);
                return group with { Name = string.Create(CultureInfo.InvariantCulture, $"{group.Name}.{part}") };
            }),
        ];
    }

    /// <summary>Appends the loss, the adapter's own terms included, and makes it the first output.</summary>
    private static LossAttachment AttachLoss(OnnxModel model, TrainingGraphOptions options, InsertedAdapter adapter)
    {
        Value output = model.Graph.Outputs.FirstOrDefault(o => o.Name == options.LossOutput)
            ?? throw new ConfigurationException($"The model has no output '{options.LossOutput}'; it has {string.Join(", ", model.Graph.Outputs.Select(o => o.Name))}.");
        LossAttachment loss = AdapterLoss.Attach(model, options.Loss, output, adapter);
        Value[] others = [.. model.Graph.Outputs];
        SetOutputs(model.Graph, [loss.Loss, .. others]);
        return loss;
    }

    /// <summary>Appends backward pass and gradient accumulation.</summary>
    private static void Differentiate(
        OnnxModel model, LossAttachment loss, IReadOnlyList<TrainableParameter> parameters, GradientOptions rules, TrainingGraphOptions options)
    {
        OnnxGraph graph = model.Graph;
        Value? weight = options.Dialect.AddLossWeight(graph);
        Value[] inputs = [.. parameters.Select(p => graph.GetValue(p.Name))];
        GraphBuilder builder = new(graph, model.Opset) { Scope = "accumulate/" };
        Value? scale = options.HalfPrecision == DataType.Float16 ? graph.AddInput(ArtifactNames.LossScale, DataType.Float, Shape.Scalar) : null;
        Value? seed = scale is null || weight is null ? weight ?? scale : builder.Mul(weight, scale);
        Node[] forward = [.. graph.Nodes];
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(model, loss.Loss, seed, inputs, rules);
        options.Dialect.Accumulate(model, builder, [.. inputs.Select(i => (i, scale is null ? gradients[i] : builder.Div(gradients[i], scale)))]);
        if (options.GradientCheckpointing)
        {
            Recompute(model, forward, seed, parameters);
        }
        else if (options.RecomputesActivations)
        {
            CheapRecomputationPass.Run(model, forward);
        }
    }

    private static void Recompute(OnnxModel model, IReadOnlyCollection<Node> forward, Value? seed, IReadOnlyList<TrainableParameter> parameters)
    {
        if (seed is null)
        {
            throw new ConfigurationException("--gradient-checkpointing needs the session engine; artifacts of ONNX Runtime's training API have no input from which gradients start.");
        }

        if (new RecomputationPass(model, forward, seed).Run(parameters.Select(p => p.Name)) == 0)
        {
            throw new ConfigurationException(
                "--gradient-checkpointing finds nothing to compute again in this model: there are no two places through which all that depends on a parameter passes. Leave it out.");
        }
    }

    private static void UseHalfPrecision(IEnumerable<OnnxModel> models, DataType? half)
    {
        if (half is not { } type)
        {
            return;
        }

        foreach (OnnxModel model in models)
        {
            new MixedPrecisionPass(type).Run(model);
        }
    }

    private static void FinishHalfPrecision(IEnumerable<OnnxModel> models, DataType? half)
    {
        if (half is null)
        {
            return;
        }

        ConvertedWeightsPass weights = new();
        foreach (OnnxModel model in models)
        {
            new MissingHalfKernelsPass().Run(model);
            weights.Run(model);
        }
    }

    private static void Finish(OnnxModel model)
    {
        new ConstantReshapePass().Run(model);
        new DeadNodeEliminationPass().Run(model);
        GraphVerifier.Verify(model);
    }

    private static void SetOutputs(OnnxGraph graph, IReadOnlyList<Value> outputs)
    {
        foreach (Value present in graph.Outputs.ToArray())
        {
            graph.RemoveOutput(present);
        }

        foreach (Value output in outputs)
        {
            graph.AddOutput(output);
        }
    }
}
