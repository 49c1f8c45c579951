using OrtQLoRA.Graph.Adapters.Lora;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.Combining;

/// <summary>
/// Makes one LoRA adapter of several, as PEFT's <c>add_weighted_adapter</c>. The result's alpha is its rank, so that its scaling is 1;
/// its targets are those of all adapters.
/// </summary>
public static class AdapterCombiner
{
    /// <summary>Combines.</summary>
    /// <param name="adapters">LoRA adapters for one base.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <exception cref="ConfigurationException">The adapters or options do not fit; lists every fault.</exception>
    public static AdapterWeights Combine(IReadOnlyList<AdapterWeights> adapters, CombinationOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(adapters);
        options ??= new CombinationOptions();
        IReadOnlyList<double> weights = options.Weights ?? [.. adapters.Select(_ => 1.0)];
        Check(adapters, options, weights);
        List<(IReadOnlyDictionary<string, LoraPair> Pairs, IReadOnlyDictionary<string, ITensor> Others)> parts = [.. adapters.Select(LoraPair.Of)];
        RequirePlain(adapters, parts);
        int[] ranks = [.. parts.Zip(adapters, (p, a) => Math.Max(((LoraConfig)a.Config!).Rank, p.Pairs.Values.Max(v => v.A.Rows)))];
        int rank = NewRank(options, ranks, adapters);
        TensorCombination combination = new(options);
        Dictionary<string, ITensor> tensors = new(StringComparer.Ordinal);
        foreach (string key in parts.SelectMany(p => p.Pairs.Keys).Distinct().Order(ModuleOrder.Instance))
        {
            int[] present = [.. Enumerable.Range(0, parts.Count).Where(i => parts[i].Pairs.ContainsKey(key))];
            LoraPair[] pairs = [.. present.Select(i => parts[i].Pairs[key])];
            RequireSameShapes(adapters, present, pairs);
            double[] own = [.. present.Select(i => weights[i])];
            (Matrix a, Matrix b) = options.Type == CombinationType.Cat ? Stack(pairs, own, rank)
                : IsDecomposed(options.Type) ? Decompose(options, combination, present, pairs, own, rank)
                : Apart(combination, present, pairs, own);
            tensors[key] = a.ToTensor();
            tensors[pairs[0].KeyB] = b.ToTensor();
        }

        // The frozen base embedding that PEFT writes beside an adapted one is the same in all.
        foreach ((string key, ITensor tensor) in parts.SelectMany(p => p.Others))
        {
            tensors.TryAdd(key, tensor);
        }

        return new AdapterWeights(new LoraMethod(), NewConfig(adapters, rank), tensors, "the combination");
    }

    private static bool IsDecomposed(CombinationType type) => type is CombinationType.Svd or CombinationType.TiesSvd or CombinationType.DareLinearSvd
        or CombinationType.DareTiesSvd or CombinationType.MagnitudePruneSvd;

    private static void Check(IReadOnlyList<AdapterWeights> adapters, CombinationOptions options, IReadOnlyList<double> weights)
    {
        List<string> faults = [];
        if (adapters.Count == 0)
        {
            faults.Add("No adapters are given.");
        }

        if (weights.Count != adapters.Count || weights.Any(w => !double.IsFinite(w)))
        {
            faults.Add($"The weights are {string.Join(", ", weights)} for {adapters.Count} adapters; one finite number for each is expected.");
        }

        bool prunes = options.Type is not (CombinationType.Linear or CombinationType.Cat or CombinationType.Svd);
        if (prunes && options.Density is not (> 0 and <= 1))
        {
            faults.Add($"The density is {options.Density?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "not given"}; '{options.Type}' prunes and needs a number above 0, at most 1: the share that is kept.");
        }

        if (options.SvdRank is < 1)
        {
            faults.Add($"The rank of the decomposition is {options.SvdRank}; 1 or more is expected.");
        }

        if (options.SvdClamp is not (null or (> 0 and <= 1)))
        {
            faults.Add($"The clamping quantile is {options.SvdClamp}; a number above 0, at most 1, is expected.");
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    private static void RequirePlain(
        IReadOnlyList<AdapterWeights> adapters, IReadOnlyList<(IReadOnlyDictionary<string, LoraPair> Pairs, IReadOnlyDictionary<string, ITensor> Others)> parts)
    {
        List<string> faults = [];
        for (int i = 0; i < parts.Count; i++)
        {
            LoraConfig config = (LoraConfig)adapters[i].Config!;
            string[] others = [.. parts[i].Others.Keys.Where(k => !k.EndsWith(".base_layer.weight", StringComparison.Ordinal))];
            if (config.ChangesBase)
            {
                faults.Add($"{adapters[i].Source} fits a base that its start changed (init_lora_weights), which others do not; make plain LoRA of it first (ortqlora adapter convert).");
            }

            if (others.Length > 0)
            {
                faults.Add($"{adapters[i].Source} holds more than LoRA matrices, which cannot be combined: {string.Join(", ", others.Take(5))}{(others.Length > 5 ? ", ..." : "")}.");
            }

            if (parts[i].Pairs.Count == 0)
            {
                faults.Add($"{adapters[i].Source} holds no LoRA matrices.");
            }
        }

        if (faults.Count > 0)
        {
            throw new ConfigurationException(faults);
        }
    }

    private static int NewRank(CombinationOptions options, int[] ranks, IReadOnlyList<AdapterWeights> adapters)
    {
        if (options.Type == CombinationType.Cat)
        {
            return ranks.Sum();
        }

        if (IsDecomposed(options.Type))
        {
            return options.SvdRank ?? ranks.Max();
        }

        return ranks.Distinct().Count() == 1
            ? ranks[0]
            : throw new ConfigurationException(
                $"'{options.Type}' combines A and B number by number and needs equal ranks, but {string.Join(", ", adapters.Zip(ranks, (a, r) => $"{a.Source} has {r}"))}. Use cat, or svd and its kin.");
    }

    private static void RequireSameShapes(IReadOnlyList<AdapterWeights> adapters, int[] present, LoraPair[] pairs)
    {
        for (int i = 1; i < pairs.Length; i++)
        {
            if (pairs[i].A.Columns != pairs[0].A.Columns || pairs[i].B.Rows != pairs[0].B.Rows)
            {
                throw new ConfigurationException(
                    $"Module '{pairs[0].ModulePath}' is [{pairs[0].A.Columns} -> {pairs[0].B.Rows}] in {adapters[present[0]].Source} but [{pairs[i].A.Columns} -> {pairs[i].B.Rows}] in {adapters[present[i]].Source}: the adapters belong to different models.");
            }
        }
    }

    // A's part times weight and scaling, B's as it is; rows of adapters that leave the module out stay zero.
    private static (Matrix A, Matrix B) Stack(LoraPair[] pairs, double[] weights, int rank)
    {
        Matrix a = new(rank, pairs[0].A.Columns);
        Matrix b = new(pairs[0].B.Rows, rank);
        int first = 0;
        for (int i = 0; i < pairs.Length; i++)
        {
            Matrix scaled = pairs[i].A.Clone();
            scaled.Scale((float)(weights[i] * pairs[i].Scaling));
            scaled.Values.CopyTo(a.Values, first * a.Columns);
            for (int row = 0; row < b.Rows; row++)
            {
                pairs[i].B.Row(row).CopyTo(b.Row(row)[first..]);
            }

            first += scaled.Rows;
        }

        return (a, b);
    }

    // Each side gets the root of weight and scaling, A the sign.
    private static (Matrix A, Matrix B) Apart(TensorCombination combination, int[] present, LoraPair[] pairs, double[] weights)
    {
        if (pairs.Select(p => p.A.Rows).Distinct().Count() > 1)
        {
            throw new ConfigurationException(
                $"Module '{pairs[0].ModulePath}' has ranks {string.Join(", ", pairs.Select(p => p.A.Rows))} in the adapters, where equal ones are needed. Use cat, or svd and its kin.");
        }

        double[] products = [.. weights.Zip(pairs, (w, p) => w * p.Scaling)];
        float[] a = combination.Combine(pairs[0].KeyA, present, [.. pairs.Select(p => p.A.Values)], [.. products.Select(p => Math.Sign(p) * Math.Sqrt(Math.Abs(p)))]);
        float[] b = combination.Combine(pairs[0].KeyB, present, [.. pairs.Select(p => p.B.Values)], [.. products.Select(p => Math.Sqrt(Math.Abs(p)))]);
        return (new Matrix(pairs[0].A.Rows, pairs[0].A.Columns, a), new Matrix(pairs[0].B.Rows, pairs[0].B.Columns, b));
    }

    // B = U S, A = V^T of the combined changes.
    private static (Matrix A, Matrix B) Decompose(
        CombinationOptions options, TensorCombination combination, int[] present, LoraPair[] pairs, double[] weights, int rank)
    {
        int rows = pairs[0].B.Rows;
        int columns = pairs[0].A.Columns;
        Matrix change = new(rows, columns, combination.Combine(pairs[0].KeyA, present, [.. pairs.Select(p => p.Change().Values)], weights));
        int found = Math.Min(rank, Math.Min(rows, columns));
        (Matrix u, float[] s, Matrix vt) = Decompositions.Svd(change, found);
        u.ScaleColumns(s);
        if (options.SvdClamp is { } quantile)
        {
            Clamp(u, vt, quantile);
        }

        return found == rank ? (vt, u) : Stack([new LoraPair("", "", "", vt, u, 1)], [1], rank);
    }

    private static void Clamp(Matrix b, Matrix a, double quantile)
    {
        float[] all = [.. b.Values.Concat(a.Values).Order()];

        // Linear interpolation between the two nearest values, as torch.quantile.
        double at = quantile * (all.Length - 1);
        int below = (int)Math.Floor(at);
        float high = below + 1 < all.Length ? (float)(all[below] + ((at - below) * (all[below + 1] - all[below]))) : all[below];
        foreach (Matrix matrix in (Matrix[])[a, b])
        {
            for (int i = 0; i < matrix.Values.Length; i++)
            {
                matrix.Values[i] = high < 0 ? high : Math.Clamp(matrix.Values[i], -high, high);
            }
        }
    }

    private static LoraConfig NewConfig(IReadOnlyList<AdapterWeights> adapters, int rank)
    {
        LoraConfig[] configs = [.. adapters.Select(a => (LoraConfig)a.Config!)];
        LoraConfig config = LoraConfig.FromJson(configs[0].ToJson(), adapters[0].Source);
        config.Rank = rank;
        config.Alpha = rank;
        config.UseRsLora = false;
        config.RankPattern = [];
        config.AlphaPattern = [];
        if (configs.All(c => c.TargetModules?.Names is not null))
        {
            config.TargetModules = ModuleSelector.OfNames(configs.SelectMany(c => c.TargetModules!.Names!).Distinct());
        }
        else if (configs.Select(c => c.TargetModules?.ToString()).Distinct().Count() > 1)
        {
            throw new ConfigurationException(
                $"The adapters choose their modules in different ways, whose union has no name: {string.Join("; ", configs.Select(c => c.TargetModules))}. Write the targets as lists.");
        }

        return config;
    }
}
