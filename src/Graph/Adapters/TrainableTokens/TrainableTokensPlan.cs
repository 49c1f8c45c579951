using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.TrainableTokens;

/// <summary>Trained rows of the embeddings of one model.</summary>
internal sealed class TrainableTokensPlan : TargetedPlan
{
    private readonly IReadOnlyList<TokenRows> _rows;

    public TrainableTokensPlan(TrainableTokensConfig config, LinearSites sites, IReadOnlyList<LinearModule> modules)
        : base(config, sites)
    {
        _rows = [.. modules.Select(m => new TokenRows(sites, m, config.TokenIndices, "trainable_tokens_delta"))];
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [.. _rows.Select(r => r.Tensor)];

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
