using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Export.OnnxAdapter;

/// <summary>
/// Puts LoRA branches into a model whose matrices are optional graph inputs: <c>y = base(x) + (x A) B</c> with A [in, r] and
/// B [r, out], the scaling in B. Their defaults have rank 0, so that the model without an adapter computes what it did.
/// </summary>
/// <remarks>
/// Names, orientations and the scaling in B are those of Olive's ExtractAdapters. Each module has its own symbol for the rank:
/// adapters may give modules different ranks. Branches compute in fp32 whatever the base computes in, as in training.
/// </remarks>
internal sealed class OptionalLora
{
    private readonly OnnxModel _model;
    private readonly DataType _type;
    private readonly Dictionary<string, string> _inputs = new(StringComparer.Ordinal);

    /// <param name="model">The model being changed.</param>
    /// <param name="type">Element type of the inputs.</param>
    public OptionalLora(OnnxModel model, DataType type)
    {
        _model = model;
        _type = type;
    }

    /// <summary>The values of a layer's inputs for one adapter.</summary>
    /// <param name="layer">The adapter's layer, of a module that has a branch.</param>
    /// <param name="tensors">The adapter's tensors.</param>
    /// <param name="parameters">Receives the values by input name.</param>
    public void AddValues(LoraLayer layer, Func<AdapterTensor, ITensor> tensors, OrderedDictionary<string, ITensor> parameters)
    {
        float[] b = tensors(layer.B).ToFloats();
        System.Numerics.Tensors.TensorPrimitives.Multiply(b, (float)layer.Scaling, b);
        parameters[_inputs[layer.A.Name]] = ConvertedTensor.To(new TransposedTensor(FloatTensor.Of(tensors(layer.A))), _type);
        parameters[_inputs[layer.B.Name]] = ConvertedTensor.To(new TransposedTensor(DenseTensor.Of([layer.Module.OutFeatures, layer.Rank], b)), _type);
        if (layer.Bias is { } bias)
        {
            float[] values = tensors(bias).ToFloats();
            System.Numerics.Tensors.TensorPrimitives.Multiply(values, (float)layer.Scaling, values);
            parameters[_inputs[bias.Name]] = ConvertedTensor.To(DenseTensor.Vector(values), _type);
        }
    }

    /// <summary>Puts the branch on every site of a layer's module.</summary>
    public void Insert(LoraLayer layer)
    {
        LinearModule module = layer.Module;
        GraphBuilder start = new(_model.Graph, _model.Opset, _model.Graph.First) { Scope = module.Path + "/lora/" };
        Dimension rank = Dimension.Of($"{module.Path}.lora_r");
        Value aInput = Input(layer.A, [Dimension.Of(module.InFeatures), rank], [module.InFeatures, 0]);
        Value bInput = Input(layer.B, [rank, Dimension.Of(module.OutFeatures)], [0, module.OutFeatures]);
        Value a = start.Cast(aInput, DataType.Float);
        Value bScaled = start.Cast(bInput, DataType.Float);
        Value? bias = layer.Bias is null ? null : start.Cast(Input(layer.Bias, [Dimension.Of(module.OutFeatures)], [module.OutFeatures]), DataType.Float);
        if (module.Sites.Any(s => s.IsFused))
        {
            InsertIntoWeight(layer, start, a, bScaled);
            return;
        }

        foreach (LinearSite site in module.Sites)
        {
            GraphBuilder builder = new(site.Node.Graph!, _model.Opset, site.Node.Next) { Scope = start.Scope };
            Value delta = site.Kind == LinearKind.Embedding ? builder.MatMul(builder.Op("Gather", [a, site.Input], ("axis", 0)), bScaled)
                : site.IsWeightLeft ? WeightLeft(builder, site, a, bScaled)
                : builder.MatMul(builder.MatMul(builder.Cast(site.Input, DataType.Float), a), bScaled);
            if (bias is not null)
            {
                delta = builder.Add(delta, site.IsWeightLeft ? builder.Reshape(bias, -1, 1) : bias);
            }

            Value sum = builder.Add(site.Product, builder.Cast(delta, ProductType(site)));
            sum.Type ??= site.Product.Type;
            OutputNames.Redirect(site.Product, sum);
        }
    }

    // The product is not seen where attention holds its projections: W + A B takes the place of W, computed in each run.
    private static void InsertIntoWeight(LoraLayer layer, GraphBuilder start, Value a, Value b)
    {
        LinearModule module = layer.Module;
        if (layer.Bias is not null)
        {
            throw new ConfigurationException($"Module '{module.Path}' lies inside {module.Sites[0].Node.Describe()}, behind which lora_bias cannot be added. Export with --to merged.");
        }

        Value delta = start.MatMul(a, b);
        if (module.Slice is { } slice)
        {
            long whole = module.Weight.Initializer!.Dims[slice.Axis];
            delta = start.Op("Pad", [delta, start.Int64s(0, slice.Start, 0, whole - slice.Start - slice.Length)]);
        }

        delta = start.Cast(delta, module.Sites[0].Content.ElementType);
        foreach (LinearSite site in module.Sites)
        {
            Value present = site.Node.Inputs[site.WeightIndex]!;
            site.Node.SetInput(site.WeightIndex, new GraphBuilder(site.Node.Graph!, start.Opset, site.Node) { Scope = start.Scope }.Add(present, delta));
        }
    }

    // y = W x: the features lie along the second-last axis.
    private static Value WeightLeft(GraphBuilder builder, LinearSite site, Value a, Value b)
    {
        Value x = builder.Cast(site.Input, DataType.Float);
        if (site.Node.Is("Gemm") && site.Node.GetInt("transB", 0) != 0)
        {
            x = builder.Transpose(x, 1, 0);
        }

        return builder.MatMul(builder.Transpose(b, 1, 0), builder.MatMul(builder.Transpose(a, 1, 0), x));
    }

    private static DataType ProductType(LinearSite site) =>
        site.Product.ElementType.IsFloatingPoint() ? site.Product.ElementType
        : site.WeightChain.LastOrDefault(n => n.Is("Cast")) is { } cast ? (DataType)cast.GetInt("to", 0)
        : site.Content.ElementType.IsFloatingPoint() ? site.Content.ElementType
        : DataType.Float;

    private Value Input(AdapterTensor tensor, Dimension[] shape, long[] defaultDims)
    {
        long count = defaultDims.Aggregate(1L, (n, d) => n * d);
        byte[] zeros = new byte[_type.ByteLength(count)];
        Value input = _model.Graph.AddInput(_model.Graph.Names.Reserve(tensor.Name), _type, new Shape(shape));
        _model.Graph.SetInitializer(input, new DenseTensor(_type, defaultDims, zeros));
        _inputs[tensor.Name] = input.Name;
        return input;
    }
}
