using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.TrainableTokens;

/// <summary>Trained rows of the embeddings of one model.</summary>
internal sealed class TrainableTokensPlan : TargetedPlan
{
    private const string Parameter = "trainable_tokens_delta";

    private readonly IReadOnlyList<TokenRows> _rows;

    public TrainableTokensPlan(TrainableTokensConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites, [])
    {
        _rows = [.. modules.Select(m => new TokenRows(sites, m, config.TokenIndices, Parameter))];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [.. _rows.Select(r => r.Tensor)];

    /// <summary>PEFT writes the rows of a tied head, which are those of the embedding, under the head's name too.</summary>
    public override IReadOnlyDictionary<string, string> Duplicates =>
        _rows.SelectMany(r => r.Heads.Select(h => (Key: PeftKeys.Of($"{h.Path}.{Parameter}"), Rows: r.Tensor.FileKey))).ToDictionary(d => d.Key, d => d.Rows);

    public override void Insert(AdapterInsertionContext context)
    {
        foreach (TokenRows rows in _rows)
        {
            rows.Insert(context);
        }
    }

    public override void Merge(WeightMerge merge)
    {
        foreach (TokenRows rows in _rows)
        {
            rows.Merge(merge);
        }
    }
}
