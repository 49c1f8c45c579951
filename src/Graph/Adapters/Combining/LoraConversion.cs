using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Combining;

/// <summary>Makes plain LoRA for the original base of any adapter that can be merged.</summary>
public static class LoraConversion
{
    /// <summary>
    /// Converts. LoRA whose start changed the base (PiSSA and its kin) is converted exactly, as PEFT does with
    /// <c>path_initial_model_for_weight_conversion</c>: <c>A' = [A; A0]</c>, <c>B' = [B, -B0]</c>, rank and alpha doubled. Other methods give
    /// the best approximation of a rank, by singular value decomposition of each weight's change.
    /// </summary>
    /// <param name="model">The original base; not changed.</param>
    /// <param name="adapter">The adapter with method and configuration.</param>
    /// <param name="rank">Rank of the approximation; conversions that are exact do not look at it.</param>
    /// <param name="options">How the base was kept in training; null for its own weights.</param>
    /// <returns>The adapter, and the largest relative error of a weight's change (0 if exact).</returns>
    /// <exception cref="ConfigurationException">The adapter does not fit, or changes more than weights of linear layers.</exception>
    public static (AdapterWeights Adapter, double Error) ToLora(OnnxModel model, AdapterWeights adapter, int rank, MergeOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(adapter);
        (IAdapterMethod method, AdapterConfig config) = adapter.RequireConfig();
        return config is LoraConfig { UseDora: false } lora && lora.Initialization is LoraInitialization.Pissa or LoraInitialization.Olora or LoraInitialization.Corda
            ? (Doubled(model, adapter, method, (LoraConfig)config), 0)
            : Decomposed(model, adapter, method, config, rank, options ?? new MergeOptions());
    }

    private static AdapterWeights Doubled(OnnxModel model, AdapterWeights adapter, IAdapterMethod method, LoraConfig config)
    {
        LoraPlan plan = (LoraPlan)method.Plan(LinearFinder.Find(model), config);
        BasePreparation preparation = BasePreparation.Run(ModelCloner.Clone(model), method, config, adapter, seed: 0);
        Dictionary<string, ITensor> tensors = new(new InitialValues(adapter, plan).Tensors, StringComparer.Ordinal);
        foreach (LoraLayer layer in plan.Layers.Where(l => !l.IsEmbedding))
        {
            Matrix a = Matrix.Of(tensors[layer.A.FileKey]);
            Matrix b = Matrix.Of(tensors[layer.B.FileKey]);
            Matrix a0 = Matrix.Of(preparation.Initial[layer.A.FileKey]);
            Matrix b0 = Matrix.Of(preparation.Initial[layer.B.FileKey]);
            b0.Scale(-1);
            tensors[layer.A.FileKey] = new Matrix(2 * a.Rows, a.Columns, [.. a.Values, .. a0.Values]).ToTensor();
            tensors[layer.B.FileKey] = new Matrix(2 * a.Rows, b.Rows, [.. b.Transpose().Values, .. b0.Transpose().Values]).Transpose().ToTensor();
        }

        // alpha / r stays where both double; alpha / sqrt(r) where alpha grows by the root of 2.
        double growth = config.UseRsLora ? Math.Sqrt(2) : 2;
        LoraConfig plain = LoraConfig.FromJson(config.ToJson(), adapter.Source);
        plain.Initialization = LoraInitialization.Default;
        plain.Rank *= 2;
        plain.Alpha *= growth;
        plain.RankPattern = [.. config.RankPattern.Select(p => KeyValuePair.Create(p.Key, p.Value * 2))];
        plain.AlphaPattern = [.. config.AlphaPattern.Select(p => KeyValuePair.Create(p.Key, p.Value * growth))];
        return new AdapterWeights(method, plain, tensors, adapter.Source);
    }

    private static (AdapterWeights, double) Decomposed(
        OnnxModel model, AdapterWeights adapter, IAdapterMethod method, AdapterConfig config, int rank, MergeOptions options)
    {
        LinearSites sites = LinearFinder.Find(model);
        AdapterPlan plan = method.Plan(sites, config);
        if (plan.TrainedWeights.Count > 0)
        {
            throw new ConfigurationException(
                $"The adapter trains weights of the base themselves ({string.Join(", ", plan.TrainedWeights.Take(3).Select(w => w.Parameter.Name))}{(plan.TrainedWeights.Count > 3 ? ", ..." : "")}), which LoRA matrices cannot hold. Merge it instead.");
        }

        if (plan is LoraPlan { Layers: var layers } && layers.FirstOrDefault(l => l.IsConvolution) is { } convolution)
        {
            throw new ConfigurationException($"The adapter changes '{convolution.Module.Path}', a convolution, whose change is no matrix to decompose. Merge it instead.");
        }

        OnnxModel changed = ModelCloner.Clone(model);
        MergedModelExporter.Merge(changed, adapter, options);
        OnnxModel trained = ModelCloner.Clone(model);
        MergedModelExporter.PrepareBase(trained, config, options);
        LinearSites after = LinearFinder.Find(changed);
        LinearSites before = LinearFinder.Find(trained);
        Dictionary<string, ITensor> tensors = new(StringComparer.Ordinal);
        List<string> targets = [];
        double worst = 0;
        foreach (LinearModule module in before.Modules.Where(m => m is { Kind: LinearKind.Linear, Storage: WeightStorage.Dense }))
        {
            Matrix change = BaseWeight.Read(after.Find(module.Path)!);
            change.Add(BaseWeight.Read(module), -1);
            double norm = Norm(change);
            if (norm == 0)
            {
                continue;
            }

            targets.Add(module.Path);
            int kept = Math.Min(rank, Math.Min(change.Rows, change.Columns));
            (Matrix u, float[] s, Matrix vt) = Decompositions.Svd(change, kept);
            (Matrix a, Matrix b) = LoraPreparation.Split(u, s, vt, 1);
            change.Add(b.Multiply(a), -1);
            worst = Math.Max(worst, Norm(change) / norm);
            tensors[Peft.PeftKeys.Of(module.Path + ".lora_A.weight")] = Padded(a, rank).ToTensor();
            tensors[Peft.PeftKeys.Of(module.Path + ".lora_B.weight")] = Padded(b.Transpose(), rank).Transpose().ToTensor();
        }

        if (targets.Count == 0)
        {
            throw new ConfigurationException($"{adapter.Source} changes no weight of a linear layer; there is nothing that LoRA could hold.");
        }

        LoraConfig lora = new()
        {
            TaskType = config.TaskType,
            BaseModelNameOrPath = config.BaseModelNameOrPath,
            Rank = rank,
            Alpha = rank,
            TargetModules = ModuleSelector.OfNames(targets),
        };
        return (new AdapterWeights(new LoraMethod(), lora, tensors, adapter.Source), worst);
    }

    private static Matrix Padded(Matrix matrix, int rows)
    {
        Matrix padded = new(rows, matrix.Columns);
        matrix.Values.CopyTo(padded.Values, 0);
        return padded;
    }

    private static double Norm(Matrix matrix) => Math.Sqrt(matrix.RowNorms().Sum(n => (double)n * n));
}
