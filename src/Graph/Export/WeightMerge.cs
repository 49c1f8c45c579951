using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Export;

/// <summary>Gathers what an adapter changes in the weights of a model, then writes it into the model.</summary>
public sealed class WeightMerge
{
    private readonly LinearSites _sites;
    private readonly InitialTensors? _initial;
    private readonly Dictionary<LinearModule, List<WeightChange>> _changes = [];
    private readonly Dictionary<LinearModule, float[]> _biases = [];

    internal WeightMerge(LinearSites sites, InitialTensors? tensors)
    {
        _sites = sites;
        _initial = tensors;
        Initializers = new MergedInitializers(sites);
    }

    /// <summary>Whether changes are taken back, the last one first, rather than made.</summary>
    internal bool IsUnmerge { get; init; }

    /// <summary>Where the changes go.</summary>
    internal MergedInitializers Initializers { get; }

    /// <summary>Values of one of the method's tensors.</summary>
    public float[] Tensor(AdapterTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return _initial!.Of(tensor).ToFloats();
    }

    /// <summary>Adds <c>scaling * B A</c> to a module's weight.</summary>
    /// <param name="module">A linear layer, an embedding, or a convolution without groups, whose kernel lies along in.</param>
    /// <param name="a">[r, in].</param>
    /// <param name="b">[out, r].</param>
    /// <param name="rank">r.</param>
    /// <param name="scaling">Multiplies the product.</param>
    /// <exception cref="ConfigurationException">The weight is held in a quantized form.</exception>
    public void AddLowRank(LinearModule module, float[] a, float[] b, int rank, double scaling) =>
        Add(module, new WeightChange(new LowRankFactors(a, b, rank, IsUnmerge ? -scaling : scaling), null));

    /// <summary>
    /// Changes a module's weight as a whole matrix: [out, in], an embedding's [vocabulary, dim]. Changes of one module follow
    /// each other in the order in which they were asked for; each is computed when the merged model is written, and again
    /// whenever it is read.
    /// </summary>
    /// <param name="module">A linear layer or embedding.</param>
    /// <param name="change">Gives the new weight, of the same shape; it may change its argument and return it.</param>
    /// <param name="undo">Gives the weight before, likewise; null where the new weight does not tell it.</param>
    /// <exception cref="ConfigurationException">The weight is held in a quantized form, or the change is to be taken back and cannot be.</exception>
    public void Transform(LinearModule module, Func<Matrix, Matrix> change, Func<Matrix, Matrix>? undo = null)
    {
        ArgumentNullException.ThrowIfNull(module);
        if (IsUnmerge && undo is null)
        {
            throw new ConfigurationException(
                $"The adapter cannot be taken out of the weight of '{module.Path}' again: the merged weight does not tell what was there before (the length of a row under DoRA, a row that was replaced). Use the base model's own file.");
        }

        Add(module, new WeightChange(null, IsUnmerge ? undo : change));
    }

    /// <summary>Adds a matrix to a module's weight: [out, in], an embedding's [vocabulary, dim].</summary>
    /// <param name="module">A linear layer or embedding.</param>
    /// <param name="matrix">Computes the matrix, whenever the weight is.</param>
    /// <param name="scaling">Multiplies it.</param>
    /// <exception cref="ConfigurationException">The weight is held in a quantized form.</exception>
    public void AddMatrix(LinearModule module, Func<Matrix> matrix, double scaling)
    {
        ArgumentNullException.ThrowIfNull(matrix);
        Matrix Sum(Matrix weight, double factor)
        {
            weight.Add(matrix(), (float)factor);
            return weight;
        }

        Transform(module, weight => Sum(weight, scaling), weight => Sum(weight, -scaling));
    }

    /// <summary>Multiplies a module's weights by a factor for each output.</summary>
    /// <exception cref="ConfigurationException">The weight is held in a quantized form, or a factor of 0 is to be taken back.</exception>
    public void ScaleOutputs(LinearModule module, float[] factors)
    {
        factors = Factors(module, factors);
        Matrix Scaled(Matrix weight)
        {
            weight.ScaleRows(factors);
            return weight;
        }

        Transform(module, Scaled, Scaled);
    }

    /// <summary>Multiplies a module's weights by a factor for each input.</summary>
    /// <exception cref="ConfigurationException">The weight is held in a quantized form, or a factor of 0 is to be taken back.</exception>
    public void ScaleInputs(LinearModule module, float[] factors)
    {
        factors = Factors(module, factors);
        Matrix Scaled(Matrix weight)
        {
            weight.ScaleColumns(factors);
            return weight;
        }

        Transform(module, Scaled, Scaled);
    }

    /// <summary>Multiplies a module's bias [out], if it has one, by a vector.</summary>
    /// <exception cref="ConfigurationException">The bias is no constant, or a factor of 0 is to be taken back.</exception>
    public void ScaleBias(LinearModule module, float[] factors) => Initializers.ScaleBias(module, Factors(module, factors));

    /// <summary>Adds a vector [out] to a module's result: to its bias, or as a new bias where the module has none.</summary>
    /// <remarks>PEFT refuses to merge into a module without bias; a graph can take one more Add.</remarks>
    public void AddToBias(LinearModule module, float[] values)
    {
        ArgumentNullException.ThrowIfNull(module);
        ArgumentNullException.ThrowIfNull(values);
        if (IsUnmerge)
        {
            values = Array.ConvertAll(values, v => -v);
        }

        if (_biases.TryGetValue(module, out float[]? sum))
        {
            System.Numerics.Tensors.TensorPrimitives.Add(sum, values, sum);
        }
        else
        {
            _biases[module] = [.. values];
        }
    }

    /// <summary>Replaces a trained weight.</summary>
    internal void Replace(TrainedWeight weight)
    {
        if (IsUnmerge)
        {
            throw new ConfigurationException(
                $"The adapter replaces '{weight.Parameter.Name}', which cannot be taken back: the merged model does not hold what was there before. Use the base model's own file.");
        }

        // In the orientation of the parameter's own initializer; a tied head may hold the other one.
        ITensor value = _initial!.Of(weight);
        foreach (ModelParameter parameter in weight.Tied.Prepend(weight.Parameter))
        {
            ITensor stored = ParameterValues.ToContent(parameter, parameter.IsTransposed == weight.Parameter.IsTransposed ? value : new TransposedTensor(value));
            Initializers.Replace(parameter, stored, weight.IsCopy);
        }
    }

    /// <summary>Writes the changes of weights and biases into the model.</summary>
    /// <param name="format">Format of the base in training, or null.</param>
    /// <param name="isQuantized">Which modules were quantized.</param>
    internal void Apply(IWeightFormat? format, Func<LinearModule, bool> isQuantized)
    {
        LastUsed<IQuantizedWeight> last = new();
        foreach (LinearModule module in _sites.Modules)
        {
            bool quantized = format is not null && isQuantized(module);
            _changes.TryGetValue(module, out List<WeightChange>? changes);
            if (quantized || changes is not null)
            {
                Initializers.Replace(module, Merged(module, quantized ? new QuantizedRows(last, format!, WeightMatrix.Of(module.Sites[0])) : null, IsUnmerge ? [.. Enumerable.Reverse(changes ?? [])] : changes ?? []));
            }
        }

        foreach ((LinearModule module, float[] values) in _biases)
        {
            Initializers.AddToBias(module, values);
        }
    }

    // The factors themselves, or those that take them back.
    private float[] Factors(LinearModule module, float[] factors)
    {
        ArgumentNullException.ThrowIfNull(module);
        ArgumentNullException.ThrowIfNull(factors);
        if (IsUnmerge && Array.IndexOf(factors, 0f) is >= 0 and int zero)
        {
            throw new ConfigurationException(
                $"The adapter multiplies feature {zero} of '{module.Path}' by 0, which cannot be taken back. Use the base model's own file.");
        }

        return IsUnmerge ? Array.ConvertAll(factors, f => 1 / f) : factors;
    }

    private void Add(LinearModule module, WeightChange change)
    {
        ArgumentNullException.ThrowIfNull(module);
        if (module.Storage != WeightStorage.Dense)
        {
            throw new ConfigurationException(
                $"Module '{module.Path}' holds its weight '{module.Weight.Name}' quantized ({module.Storage}) in the original model; an adapter can be merged into float weights only. Export the adapter beside the model instead.");
        }

        (_changes.TryGetValue(module, out List<WeightChange>? changes) ? changes : _changes[module] = []).Add(change);
    }

    private static ITensor Merged(LinearModule module, QuantizedRows? quantized, List<WeightChange> changes)
    {
        LinearSite site = module.Sites[0];
        if (quantized is not null && changes.Count == 0)
        {
            return new DequantizedTensor(site.Content.ElementType, quantized, site.Content.Dims);
        }

        IMatrixRows rows = quantized is null ? new OriginalRows(site.Content) : quantized;
        return changes.Any(c => c.LowRank is null)
            ? new TransformedWeight(site, rows, changes)
            : new MergedWeight(
                site.Content.ElementType,
                rows,
                site.Content.Dims,
                [.. changes.Select(c => c.LowRank!).Select(t => LowRankTerm.OfLora(t.A, t.B, t.Rank, t.Scaling / site.WeightFactor, site.IsOutByIn))]);
    }
}
