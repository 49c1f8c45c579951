using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Text;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Models;

/// <summary>Names, shapes and initial values of a Llama decoder's weights.</summary>
public static class LlamaWeights
{
    /// <summary>
    /// Every weight of a model in the order of its use, by PyTorch's parameter name. Matrices of linear layers are laid out
    /// [in, out], as exporters write them for MatMul; the embedding is [vocabulary, hidden].
    /// </summary>
    /// <exception cref="ConfigurationException">The options cannot be built.</exception>
    public static IReadOnlyList<KeyValuePair<string, ImmutableArray<long>>> Shapes(LlamaModelOptions options)
    {
        options.Validate();
        long hidden = options.HiddenSize;
        long queries = (long)options.HeadCount * options.EffectiveHeadSize;
        long keys = (long)options.EffectiveKeyValueHeadCount * options.EffectiveHeadSize;
        long wide = options.IntermediateSize;
        List<KeyValuePair<string, ImmutableArray<long>>> shapes = [];
        Add("model.embed_tokens.weight", options.VocabularySize, hidden);
        for (int i = 0; i < options.LayerCount; i++)
        {
            string layer = $"model.layers.{i}";
            Add($"{layer}.input_layernorm.weight", hidden);
            Add($"{layer}.self_attn.q_proj.weight", hidden, queries);
            Add($"{layer}.self_attn.k_proj.weight", hidden, keys);
            Add($"{layer}.self_attn.v_proj.weight", hidden, keys);
            Add($"{layer}.self_attn.o_proj.weight", queries, hidden);
            Add($"{layer}.post_attention_layernorm.weight", hidden);
            Add($"{layer}.mlp.gate_proj.weight", hidden, wide);
            Add($"{layer}.mlp.up_proj.weight", hidden, wide);
            Add($"{layer}.mlp.down_proj.weight", wide, hidden);
        }

        Add("model.norm.weight", hidden);
        if (!options.TieWordEmbeddings)
        {
            Add("lm_head.weight", hidden, options.VocabularySize);
        }

        return shapes;

        void Add(string name, params ImmutableArray<long> dims) => shapes.Add(new(name, dims));
    }

    /// <summary>
    /// Initial weights: ones for the norms, normal with <see cref="LlamaModelOptions.InitializerRange"/> elsewhere, divided
    /// by sqrt(2 layers) for the two products of each layer that are added to the residual stream, so that its variance
    /// does not grow with depth (Radford et al. 2019, section 2.3). Each tensor depends only on the seed and on its name: matrices
    /// are made when they are read, and take no memory before and after.
    /// </summary>
    /// <exception cref="ConfigurationException">The options cannot be built.</exception>
    public static IReadOnlyDictionary<string, ITensor> Initialize(LlamaModelOptions options)
    {
        return Shapes(options).ToDictionary(s => s.Key, s => Initialize(s.Key, s.Value, options), StringComparer.Ordinal);
    }

    private static ITensor Initialize(string name, ImmutableArray<long> dims, LlamaModelOptions options)
    {
        if (dims.Length == 1)
        {
            float[] ones = new float[dims[0]];
            Array.Fill(ones, 1f);
            return DenseTensor.Of(dims, ones);
        }

        bool joinsResidual = name.EndsWith("o_proj.weight", StringComparison.Ordinal) || name.EndsWith("down_proj.weight", StringComparison.Ordinal);
        double deviation = options.InitializerRange / (joinsResidual ? Math.Sqrt(2.0 * options.LayerCount) : 1);
        int seed = SeedOf(options.Seed, name);
        return new DeferredTensor(DataType.Float, dims, () =>
        {
            byte[] bytes = new byte[checked(sizeof(float) * dims.Aggregate(1, (n, d) => checked(n * (int)d)))];
            FillNormal(MemoryMarshal.Cast<byte, float>(bytes.AsSpan()), deviation, seed);
            return bytes;
        });
    }

    private static int SeedOf(int seed, string name) =>
        unchecked((int)System.IO.Hashing.XxHash64.HashToUInt64(Encoding.UTF8.GetBytes(name), seed));

    // Box and Muller 1958: two normal numbers from two uniform ones.
    private static void FillNormal(Span<float> values, double standardDeviation, int seed)
    {
        Random random = new(seed);
        for (int i = 0; i < values.Length; i += 2)
        {
            double radius = standardDeviation * Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
            (double sin, double cos) = Math.SinCos(2 * Math.PI * random.NextDouble());
            values[i] = (float)(radius * cos);
            if (i + 1 < values.Length)
            {
                values[i + 1] = (float)(radius * sin);
            }
        }
    }
}
