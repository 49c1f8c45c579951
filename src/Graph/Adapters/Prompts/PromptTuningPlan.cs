using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>Prompt tuning of one model: trained rows in front of the token embeddings; outputs have the virtual positions in front too.</summary>
internal sealed class PromptTuningPlan : AdapterPlan
{
    private readonly int _count;
    private readonly IReadOnlyList<LinearSite> _sites;
    private readonly AdapterTensor _rows;

    public PromptTuningPlan(PromptTuningConfig config, LinearSites sites)
        : base(config.WithSizes<PromptTuningConfig>((int)VirtualTokenInputs.TokenEmbeddings(sites)[0].OutFeatures, null, null))
    {
        _count = config.VirtualTokens;
        _sites = VirtualTokenInputs.TokenEmbeddings(sites);
        TrainedWeights = [.. SavedModules.Train(sites, config.AllModulesToSave, PeftKeys.PromptPrefix)];
        LinearModule embedding = sites.Find(_sites[0].ModulePath)!;
        _rows = new AdapterTensor("prompt_embeddings", "prompt_embeddings", [_count, embedding.OutFeatures], (start, values) => Start(config, embedding, start, values))
        {
            GradientKey = "prompt_encoder.embedding.weight",
        };
    }

    public override IReadOnlyList<AdapterTensor> Tensors => [_rows];

    public override IReadOnlyList<TrainedWeight> TrainedWeights { get; }

    public override int VirtualTokens => _count;

    public override void Insert(AdapterInsertionContext context)
    {
        const string Scope = "prompt/";
        foreach (LinearSite site in _sites)
        {
            Value result = EmbeddingResult.Of(site).Value;
            GraphBuilder b = new(site.Node.Graph!, context.Model.Opset, result.Producer!.Next) { Scope = Scope };
            OnnxType? type = result.Type;
            AdapterInsertionContext.Rewrite(result, product =>
            {
                Value batch = b.ShapeOf(product, 0, 1);
                Value prompt = b.Expand(
                    b.Unsqueeze(b.Cast(context.Input(_rows), product.ElementType), 0),
                    b.Concat(0, batch, b.Int64s(_count, site.OutFeatures)));
                Value tokens = b.Op("Slice", [product, b.Int64s(_count), b.Int64s(long.MaxValue), b.Int64s(1)]);
                Value joined = b.Concat(1, prompt, tokens);
                joined.Type = type;
                return joined;
            });
        }

        VirtualTokenInputs.Extend(context.Model, _count, Scope);
    }

    public override string? MergeObstacle =>
        "Prompt tuning cannot be merged: it adds positions to the input and changes no weight. Keep the adapter beside the model.";

    private static void Start(PromptTuningConfig config, LinearModule embedding, FirstValues start, Span<float> values)
    {
        switch (config.Initialization)
        {
            case "SAMPLE_VOCAB":
                Matrix table = FirstValues.Weight(embedding);
                table.Scale(EmbeddingResult.Of(embedding.Sites[0]).Factor);
                for (int row = 0; row < values.Length / table.Columns; row++)
                {
                    table.Row((int)(start.Random.NextUniform() * table.Rows)).CopyTo(values[(row * table.Columns)..]);
                }

                break;
            case "RANDOM":
                start.Random.FillGaussian(values, 1);
                break;
            default:
                throw new ConfigurationException("prompt_tuning_init 'TEXT' needs PEFT's tokenizer at the start; begin with RANDOM or SAMPLE_VOCAB, or give an adapter that has its values (--init-adapter).");
        }
    }
}
