using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.TrainableTokens;

/// <summary>
/// Chosen rows of an embedding that are trained in place of the base's. PEFT calls the tensor a delta; it holds the rows' whole
/// values. A head that is tied to the embedding changes with it.
/// </summary>
internal sealed class TokenRows
{
    private readonly LinearModule _embedding;
    private readonly IReadOnlyList<LinearModule> _heads;
    private readonly int[] _indices;

    /// <summary>Plans the rows.</summary>
    /// <param name="sites">The model.</param>
    /// <param name="embedding">The embedding.</param>
    /// <param name="indices">Token ids, in the order of the tensor's rows.</param>
    /// <param name="parameter">Name of the tensor below the module's path.</param>
    /// <exception cref="ConfigurationException">Token ids are doubled or outside the vocabulary, or there are none.</exception>
    public TokenRows(LinearSites sites, LinearModule embedding, IReadOnlyList<int> indices, string parameter)
    {
        if (indices.Count == 0)
        {
            throw new ConfigurationException($"No token indices are given for '{embedding.Path}'; name the tokens whose rows are to be trained.");
        }

        int[] wrong = [.. indices.Where(i => i < 0 || i >= embedding.InFeatures)];
        if (wrong.Length > 0 || indices.Distinct().Count() != indices.Count)
        {
            throw new ConfigurationException(wrong.Length > 0
                ? $"Token indices {string.Join(", ", wrong)} lie outside the vocabulary of '{embedding.Path}', which has {embedding.InFeatures} rows."
                : $"Token indices for '{embedding.Path}' are given twice: {string.Join(", ", indices.GroupBy(i => i).Where(g => g.Count() > 1).Select(g => g.Key))}.");
        }

        _embedding = embedding;
        _indices = [.. indices];
        ILookup<ModelParameter, ModelParameter> ties = TiedWeights.Find(sites);
        _heads =
        [
            .. sites.Modules.Where(m => m.Kind == LinearKind.Linear && m.IsOutputHead && m.Weight == embedding.Weight),
            .. ties.Where(t => t.Key.WeightOf == embedding).SelectMany(t => t).Select(p => p.WeightOf!),
        ];
        string name = $"{embedding.Path}.{parameter}";
        Tensor = new AdapterTensor(name, PeftKeys.Of(name), [_indices.Length, embedding.OutFeatures], (_, values) => BaseRows().Values.CopyTo(values));
    }

    /// <summary>Output heads that are tied to the embedding.</summary>
    public IReadOnlyList<LinearModule> Heads => _heads;

    /// <summary>The rows [tokens, dim].</summary>
    public AdapterTensor Tensor { get; }

    /// <summary>Finds an embedding by name, as PEFT does; the model's only one where the name is PEFT's default.</summary>
    /// <exception cref="ConfigurationException">There is none, or several.</exception>
    public static LinearModule FindEmbedding(LinearSites sites, string name)
    {
        LinearModule[] all = [.. sites.Modules.Where(m => m.Kind == LinearKind.Embedding)];
        LinearModule[] named = [.. all.Where(m => m.Path == name || m.Path.EndsWith("." + name, StringComparison.Ordinal))];
        return named.Length == 1 ? named[0]
            : named.Length == 0 && name == "embed_tokens" && all.MaxBy(m => m.InFeatures) is { } largest ? largest
            : throw new ConfigurationException(
                $"trainable_token_indices: '{name}' means {(named.Length == 0 ? "no embedding" : "several embeddings")} of the model; its embeddings are {string.Join(", ", all.Select(m => m.Path))}.");
    }

    /// <summary>Puts the rows in place of the embedding's wherever it is read.</summary>
    public void Insert(AdapterInsertionContext context)
    {
        string scope = _embedding.Path + "/tokens/";
        GraphBuilder start = context.AtStart(scope);
        long[] places = new long[_embedding.InFeatures];
        Array.Fill(places, -1);
        for (int i = 0; i < _indices.Length; i++)
        {
            places[_indices[i]] = i;
        }

        Value rows = context.Input(Tensor);
        Value table = start.Int64s(places);
        foreach (LinearSite site in _embedding.Sites)
        {
            GraphBuilder b = context.Behind(site, scope);
            AdapterInsertionContext.Rewrite(site.Product, product =>
            {
                Value place = b.Op("Gather", [table, site.Input], ("axis", 0));
                Value isTrained = b.Op("GreaterOrEqual", [place, b.Scalar(0L)]);
                Value trained = b.Op("Gather", [rows, b.Op("Max", [place, b.Scalar(0L)])], ("axis", 0));
                return b.Where(b.Unsqueeze(isTrained, -1), b.Cast(trained, SiteBranch.ProductType(site)), product);
            });
        }

        InsertHeads(context, rows, scope);
    }

    /// <summary>Replaces the rows in the weights.</summary>
    public void Merge(WeightMerge merge)
    {
        float[] values = merge.Tensor(Tensor);
        foreach (LinearModule module in _heads.Prepend(_embedding))
        {
            // Both are [vocabulary, dim]: an embedding by its rows, a head by its outputs.
            merge.Transform(module, weight =>
            {
                for (int i = 0; i < _indices.Length; i++)
                {
                    values.AsSpan(i * weight.Columns, weight.Columns).CopyTo(weight.Row(_indices[i]));
                }

                return weight;
            });
        }
    }

    // logits + x (rows - base rows)^T placed at the tokens' columns.
    private void InsertHeads(AdapterInsertionContext context, Value rows, string scope)
    {
        if (_heads.Count == 0)
        {
            return;
        }

        GraphBuilder start = context.AtStart(scope);
        Matrix placement = new(_indices.Length, (int)_embedding.InFeatures);
        for (int i = 0; i < _indices.Length; i++)
        {
            placement[i, _indices[i]] = 1;
        }

        Value columns = start.Constant(placement.ToTensor());
        Value change = start.Transpose(start.Sub(rows, start.Constant(BaseRows().ToTensor())), 1, 0);
        foreach (LinearSite site in _heads.SelectMany(h => h.Sites))
        {
            SiteBranch branch = new(context, site, scope);
            branch.AddToProduct(branch.Behind.MatMul(branch.Behind.MatMul(branch.Input(branch.Behind), change), columns));
        }
    }

    private Matrix BaseRows()
    {
        Matrix weight = BaseWeight.Read(_embedding);
        Matrix rows = new(_indices.Length, weight.Columns);
        for (int i = 0; i < _indices.Length; i++)
        {
            weight.Row(_indices[i]).CopyTo(rows.Row(i));
        }

        return rows;
    }
}
