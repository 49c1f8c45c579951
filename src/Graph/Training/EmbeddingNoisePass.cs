using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// NEFTune (Jain et al., arXiv 2310.05914): uniform noise from -1 to 1 times <c>alpha / sqrt(L d)</c> on the token embeddings
/// of a training graph, with L the length of a row, padding included, and d the width.
/// </summary>
internal sealed class EmbeddingNoisePass : GraphPass
{
    private const string TokenInput = "input_ids";

    private readonly double _alpha;
    private readonly int _seed;

    /// <summary>Creates the pass.</summary>
    /// <param name="alpha">Size of the noise.</param>
    /// <param name="seed">Seed of the run.</param>
    internal EmbeddingNoisePass(double alpha, int seed)
    {
        _alpha = alpha;
        _seed = seed;
    }

    /// <inheritdoc/>
    public override bool Run(OnnxModel model)
    {
        LinearSite[] sites = [.. LinearFinder.Find(model).Sites.Where(s => s.Kind == LinearKind.Embedding && ReadsTokens(s))];
        if (sites.Length == 0)
        {
            throw new ConfigurationException($"--neftune-alpha puts noise on the embeddings of tokens, but the model looks up none by its input '{TokenInput}'.");
        }

        foreach (LinearSite site in sites)
        {
            AddNoise(model, site);
        }

        return true;
    }

    private static bool ReadsTokens(LinearSite site)
    {
        Value value = site.Input;
        while (value.Producer is { OpType: "Cast" or "Identity" or "Reshape" } node && node.Inputs[0] is Value source)
        {
            value = source;
        }

        return value.IsGraphInput && value.Name == TokenInput;
    }

    private void AddNoise(OnnxModel model, LinearSite site)
    {
        // The adapter's branch may already stand behind the product; noise on the product is noise on their sum.
        Value embedding = site.Product;
        GraphBuilder builder = new(site.Node.Graph!, model.Opset, site.Node.Next) { Scope = $"{site.ModulePath}/neftune/" };
        Value numbers = builder.Cast(PassRandom.Integers(builder, embedding, _seed, $"{site.ModulePath}/neftune/{site.Node.Name}"), DataType.Float);
        Value uniform = builder.Sub(builder.Mul(numbers, 2.0 / PassRandom.Modulus), builder.Scalar(1f));
        Value size = builder.Cast(builder.Op("ReduceProd", [builder.ShapeOf(embedding, -2, int.MaxValue)], ("keepdims", 0L)), DataType.Float);
        Value magnitude = builder.Div(builder.Scalar((float)_alpha), builder.Op("Sqrt", [size]));
        Value noise = builder.Cast(builder.Mul(uniform, magnitude), embedding.ElementType);
        Value noisy = builder.Add(embedding, noise);
        OutputNames.Redirect(embedding, noisy);
    }
}
