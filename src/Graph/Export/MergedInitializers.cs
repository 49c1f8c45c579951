using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// Puts new weights into a model. An initializer keeps its name and place; where another module reads it too (tied
/// embedding and head), the changed module gets an initializer of its own, so that the other one stays as it is.
/// </summary>
internal sealed class MergedInitializers
{
    private readonly LinearSites _sites;
    private readonly OnnxModel _model;

    public MergedInitializers(LinearSites sites)
    {
        _sites = sites;
        _model = sites.Model;
    }

    /// <summary>Whether nodes or initializers were added, rather than contents replaced only.</summary>
    public bool ChangedStructure { get; internal set; }

    /// <summary>Names of the initializers whose content was replaced.</summary>
    public HashSet<string> Replaced { get; } = new(StringComparer.Ordinal);

    /// <summary>Counts the changes of an adapter's preparation among these.</summary>
    public void TakeOver(BasePreparation preparation)
    {
        ChangedStructure |= preparation.ChangedStructure;
        Replaced.UnionWith(preparation.Replaced);
    }

    /// <summary>Gives an initializer, or the Constant node that makes the value, another content.</summary>
    public static void SetContent(Value value, ITensor content)
    {
        if (value.Initializer is not null)
        {
            value.Graph.SetInitializer(value, content);
        }
        else
        {
            value.Producer!.SetAttribute("value", NodeAttribute.Of(content));
        }
    }

    /// <summary>Gives a module another weight, in the orientation and type of its present one.</summary>
    public void Replace(LinearModule module, ITensor content)
    {
        if (module.Slice is { } slice)
        {
            SetPart(module.Weight, slice, content);
            return;
        }

        if (!IsShared(module))
        {
            Set(module.Weight, content);
            return;
        }

        if (module.Sites.FirstOrDefault(s => s.IsFused) is { } fused)
        {
            throw new ConfigurationException(
                $"Module '{module.Path}' shares its weight '{module.Weight.Name}' with a module that stays as it is, and lies inside {fused.Node.Describe()}, which cannot be given a copy. Train both modules or neither.");
        }

        ChangedStructure = true;
        Value own = _model.Graph.AddInitializer(_model.Graph.Names.Reserve(module.Path + ".weight"), content);
        foreach (LinearSite site in module.Sites)
        {
            Value read = own;
            if (site.WeightChain.LastOrDefault(n => n.Is("Cast")) is { } cast)
            {
                GraphBuilder builder = new(_model.Graph, _model.Opset, site.Node);
                read = builder.Cast(own, (DataType)cast.GetInt("to", (long)content.ElementType));
            }

            WeightInput.Replace(site, read, site.IsOutByIn, _model.Opset);
        }
    }

    /// <summary>Gives a parameter another value, in the orientation and type of its present one.</summary>
    /// <param name="parameter">The parameter.</param>
    /// <param name="content">The value.</param>
    /// <param name="isCopy">Whether other readers of a shared initializer keep the original.</param>
    public void Replace(ModelParameter parameter, ITensor content, bool isCopy)
    {
        if (parameter.Slice is { } slice)
        {
            SetPart(parameter.Value, slice, content);
        }
        else if (isCopy && parameter.WeightOf is { } module)
        {
            Replace(module, content);
        }
        else
        {
            Set(parameter.Value, content);
        }
    }

    /// <summary>Adds a vector to a module's bias, or gives it one.</summary>
    public void AddToBias(LinearModule module, ReadOnlySpan<float> values)
    {
        if (module.Bias is { } bias && ConstantContent.DefaultOf(bias) is { } content)
        {
            float[] sum = content.ToFloats();
            long start = module.Sites[0].BiasSlice?.Start ?? 0;
            for (int i = 0; i < values.Length; i++)
            {
                sum[start + i] += values[i] / module.Sites[0].BiasFactor;
            }

            Set(bias, ConvertedTensor.Like(DenseTensor.Of(content.Dims, sum), content));
            return;
        }

        if (module.Sites.FirstOrDefault(s => s.IsFused) is { } fused)
        {
            throw new ConfigurationException(
                $"Module '{module.Path}' has no bias to add to and lies inside {fused.Node.Describe()}, behind which none can be added. Train without lora_bias.");
        }

        ChangedStructure = true;
        LinearSite first = module.Sites[0];
        long[] dims = first.IsWeightLeft ? [values.Length, 1] : [values.Length];
        ITensor vector = DenseTensor.Of(dims, values);
        DataType type = first.Product.ElementType.IsFloatingPoint() ? first.Product.ElementType : first.Content.ElementType;
        Value added = _model.Graph.AddInitializer(
            _model.Graph.Names.Reserve(module.Path + ".bias"),
            type.IsFloatingPoint() ? ConvertedTensor.To(vector, type) : vector);
        foreach (LinearSite site in module.Sites)
        {
            AddBehind(site, added);
        }
    }

    /// <summary>Multiplies a module's bias by a vector [out]; a module without bias has nothing to multiply.</summary>
    public void ScaleBias(LinearModule module, ReadOnlySpan<float> factors)
    {
        if (module.Bias is not { } bias)
        {
            return;
        }

        if (ConstantContent.DefaultOf(bias) is not { } content)
        {
            throw new ConfigurationException($"The bias of module '{module.Path}' is computed in the graph ('{bias.Name}'), so that no factor can be merged into it.");
        }

        float[] values = [.. content.ToFloats()];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] *= factors[i];
        }

        Set(bias, ConvertedTensor.Like(DenseTensor.Of(content.Dims, values), content));
    }

    private static void AddBehind(LinearSite site, Value bias)
    {
        Value product = site.Product;
        OnnxGraph graph = site.Node.Graph!;
        Node add = graph.AddNode("Add", [product, bias], site.Node.Name + "/Bias", before: site.Node.Next);
        Value sum = add.AddOutput(graph.Names.Reserve(product.Name + "_biased"), product.Type);
        OutputNames.Redirect(product, sum);
    }

    private void Set(Value value, ITensor content)
    {
        Replaced.Add(value.Name);
        SetContent(value, content);
    }

    private void SetPart(Value value, WeightSlice slice, ITensor content)
    {
        if (ConstantContent.DefaultOf(value) is not PatchedTensor patched)
        {
            patched = new PatchedTensor(ConstantContent.DefaultOf(value)!);
            Set(value, patched);
        }

        patched.Replace(slice, content);
    }

    private bool IsShared(LinearModule module)
    {
        HashSet<Node> own = [.. module.Sites.Select(s => s.WeightChain.Count > 0 ? s.WeightChain[0] : s.Node)];
        return module.Weight.Uses.Any(u => !own.Contains(u.Node)) || _sites.Modules.Any(m => m != module && m.Weight == module.Weight);
    }
}
