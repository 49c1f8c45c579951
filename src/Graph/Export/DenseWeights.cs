using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// Gives modules that hold integers (MatMulNBits, DequantizeLinear, Cast and Mul, MatMulInteger) the floats that these stand for, so that an
/// adapter can be merged into them without a second rounding. Values are computed when the model is written.
/// </summary>
internal static class DenseWeights
{
    /// <summary>Modules of a model whose weight is no plain float matrix.</summary>
    public static IEnumerable<LinearModule> Quantized(LinearSites sites) =>
        sites.Modules.Where(m => m.Storage != WeightStorage.Dense && m.Kind != LinearKind.Convolution);

    /// <summary>Makes floats of modules that hold integers and are trained whole (modules to save), so that there is something to train.</summary>
    /// <returns>Whether the model changed; what was found in it before is out of date then.</returns>
    public static bool ExpandTrained(OnnxModel model, AdapterConfig config)
    {
        LinearModule[] trained = config.AllModulesToSave.Count == 0 ? [] : [.. Quantized(LinearFinder.Find(model)).Where(m => config.TrainsWhole(m.Path))];
        Expand(model, trained);
        return trained.Length > 0;
    }

    /// <summary>Changes a model in place; what was found in it before is out of date afterwards.</summary>
    /// <param name="model">The model.</param>
    /// <param name="modules">Modules of the model from <see cref="Quantized"/>.</param>
    /// <exception cref="ConfigurationException">A weight lies inside an operator that does more than multiply by it, or cannot be dequantized.</exception>
    public static void Expand(OnnxModel model, IReadOnlyCollection<LinearModule> modules)
    {
        if (modules.Count == 0)
        {
            return;
        }

        OnnxModel simple = ModelCloner.Clone(model);
        NormalisationPipeline.ForTraining(IsWeight).Run(simple);
        LinearSites sites = LinearFinder.Find(simple);
        ReferenceEvaluator evaluator = new(simple);
        foreach (LinearModule module in modules)
        {
            if (module.Sites.Any(s => s.IsFused) || sites.Find(module.Path) is not { } twin || twin.Sites[0] is not { IsWeightLeft: false } site)
            {
                throw new ConfigurationException(
                    $"Module '{module.Path}' holds its weight '{module.Weight.Name}' quantized ({module.Storage}) in {module.Sites[0].Node.Describe()}, where floats cannot take its place. Export the adapter beside the model instead (--to adapter).");
            }

            Replace(model, module, InByOut(site, evaluator));
        }
    }

    // Floats and the integers that stand for them; what shapes are computed of may be folded.
    private static bool IsWeight(Value value) => value.Initializer is { } content && content.ElementCount() > 1
        && (content.ElementType.IsFloatingPoint() || content.ElementType.BitWidth() <= 8);

    // The weight as the normalised graph reads it, brought to [in, out].
    private static ITensor InByOut(LinearSite site, ReferenceEvaluator evaluator)
    {
        Value read = site.Node.Inputs[site.WeightIndex]!;
        bool isOutByIn = site.Node.Is("Gemm") && site.Node.GetInt("transB", 0) != 0;
        long[] dims = isOutByIn ? [site.OutFeatures, site.InFeatures] : [site.InFeatures, site.OutFeatures];
        DataType type = read.ElementType.IsFloatingPoint() ? read.ElementType : DataType.Float;
        ITensor dense = new DeferredTensor(type, dims, () =>
            evaluator.Run(new Dictionary<string, ReferenceTensor>(), [read.Name])[read.Name].As(type).ToTensor().ToBytes());
        return isOutByIn ? new TransposedTensor(dense) : dense;
    }

    private static void Replace(OnnxModel model, LinearModule module, ITensor content)
    {
        Value weight = model.Graph.AddInitializer(model.Graph.Names.Reserve(module.Path + ".weight"), content);
        foreach (LinearSite site in module.Sites)
        {
            switch (site.Storage)
            {
                case WeightStorage.MatMulNBits:
                    Replace(model, site, b => WithBias(b, b.MatMul(site.Input, weight), site.Node.InputOrNull(5)));
                    break;
                case WeightStorage.IntegerProduct:
                    IntegerProduct.Of(site.Node)!.Rewrite(model.Opset, weight);
                    break;
                case WeightStorage.GatherBlockQuantized:
                    Replace(model, site, b => b.Op("Gather", [weight, site.Input], ("axis", 0)));
                    break;
                default:
                    WeightInput.Replace(site, weight, isOutByIn: false, model.Opset);
                    break;
            }
        }
    }

    private static Value WithBias(GraphBuilder builder, Value product, Value? bias) => bias is null ? product : builder.Add(product, bias);

    private static void Replace(OnnxModel model, LinearSite site, Func<GraphBuilder, Value> emit)
    {
        Node node = site.Node;
        Value replaced = node.Outputs[0];
        Value result = emit(new GraphBuilder(node.Graph!, model.Opset, node) { Scope = node.Name + "/" });
        (string name, string nodeName) = (replaced.Name, node.Name);
        result.Type = replaced.Type ?? result.Type;
        result.HasValueInfo = replaced.HasValueInfo;
        Value?[] inputs = [.. node.Inputs];
        replaced.ReplaceAllUsesWith(result);
        node.Graph!.Remove(node);
        result.Name = name;
        result.Producer!.Name = nodeName;
        foreach (Value input in inputs.OfType<Value>().Where(i => i.Initializer is not null))
        {
            WeightInput.RemoveUnread(input);
        }
    }
}
