using System.Collections.Immutable;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Models;

/// <summary>
/// Builds a Llama decoder (RMSNorm, rotary embedding, grouped-query attention, SwiGLU; Touvron et al. 2023) as the graph of
/// plain ONNX operators that PyTorch's exporter would write for it, under the same names.
/// </summary>
/// <remarks>
/// Inputs <c>input_ids</c> and <c>attention_mask</c> (1 for tokens, 0 for padding), both int64 [batch, sequence]; output
/// <c>logits</c> float [batch, sequence, vocabulary]. Batch and sequence are dynamic.
/// </remarks>
public sealed class LlamaModelBuilder
{
    private readonly LlamaModelOptions _options;
    private readonly IReadOnlyDictionary<string, ITensor> _weights;
    private readonly OnnxGraph _graph = new("main_graph");
    private readonly ExporterStyleEmitter _emit;

    // Shared by all layers.
    private Value _batch = null!;
    private Value _sequence = null!;
    private Value _cos = null!;
    private Value _sin = null!;
    private Value _maskBias = null!;

    private LlamaModelBuilder(LlamaModelOptions options, IReadOnlyDictionary<string, ITensor> weights)
    {
        _options = options;
        _weights = weights;
        _emit = new ExporterStyleEmitter(_graph, options.Opset);
    }

    /// <summary>Builds a model with seeded initial weights.</summary>
    /// <exception cref="ConfigurationException">The options cannot be built.</exception>
    public static OnnxModel Build(LlamaModelOptions options) => Build(options, LlamaWeights.Initialize(options));

    /// <summary>Builds a model with given weights.</summary>
    /// <param name="options">The shape of the model.</param>
    /// <param name="weights">Every weight that <see cref="LlamaWeights.Shapes"/> lists, float, in that layout; others are left alone.</param>
    /// <exception cref="ConfigurationException">The options cannot be built, or weights are missing or have other shapes or types.</exception>
    public static OnnxModel Build(LlamaModelOptions options, IReadOnlyDictionary<string, ITensor> weights)
    {
        List<string> faults = [];
        foreach ((string name, ImmutableArray<long> dims) in LlamaWeights.Shapes(options))
        {
            if (!weights.TryGetValue(name, out ITensor? tensor))
            {
                faults.Add($"Weight '{name}' [{string.Join(", ", dims)}] is missing.");
            }
            else if (tensor.ElementType != DataType.Float || !tensor.Dims.SequenceEqual(dims))
            {
                faults.Add($"Weight '{name}' is {tensor.ElementType.OnnxName()} [{string.Join(", ", tensor.Dims)}]; these options ask for float [{string.Join(", ", dims)}].");
            }
        }

        return faults.Count > 0 ? throw new ConfigurationException(faults) : new LlamaModelBuilder(options, weights).Build();
    }

    private OnnxModel Build()
    {
        Shape tokens = new(Dimension.Of("batch"), Dimension.Of("sequence"));
        Value inputIds = _graph.AddInput("input_ids", DataType.Int64, tokens);
        Value attentionMask = _graph.AddInput("attention_mask", DataType.Int64, tokens);

        Value embedding = Weight("model.embed_tokens.weight");
        Value hidden = _emit.Op("/model/embed_tokens", "Gather", [embedding, inputIds]);
        Value positions = EmitPositions(inputIds);
        EmitMask(positions, attentionMask);
        EmitRotary(positions);
        for (int i = 0; i < _options.LayerCount; i++)
        {
            hidden = EmitLayer($"model.layers.{i}", hidden);
        }

        Value normed = EmitRmsNorm("model.norm", hidden);
        Value head = _options.TieWordEmbeddings
            ? _emit.Op("/lm_head", "Transpose", [embedding], ("perm", new long[] { 1, 0 }))
            : Weight("lm_head.weight");
        Value logits = _emit.Named("logits", "/lm_head", "MatMul", [normed, head]);
        logits.Type = new OnnxType.Tensor(DataType.Float, new Shape(tokens[0], tokens[1], _options.VocabularySize));
        _graph.AddOutput(logits);

        OnnxModel model = new(_graph)
        {
            // The first file format of each operator set, so that old runtimes read what they can run.
            IrVersion = _options.Opset switch { <= 18 => 8, <= 20 => 9, _ => 10 },
            Opset = _options.Opset,
            ProducerName = "ortqlora",
        };
        model.Metadata[LlamaModelOptions.ContextLengthKey] = _options.ContextLength.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return model;
    }

    /// <summary>Positions 0, 1, ... of a sequence: int64 [sequence].</summary>
    private Value EmitPositions(Value inputIds)
    {
        const string module = "/model";
        _batch = _emit.Op(module, "Shape", [inputIds], ("start", 0), ("end", 1));
        _sequence = _emit.Op(module, "Shape", [inputIds], ("start", 1), ("end", 2));
        Value length = _emit.Op(module, "Squeeze", [_sequence, _emit.Int64s(0)]);
        return _emit.Op(module, "Range", [_emit.Int64(0), length, _emit.Int64(1)]);
    }

    /// <summary>Mask [batch, 1, sequence, sequence] added to the scores: 0 where a query sees a key, the lowest float elsewhere.</summary>
    private void EmitMask(Value positions, Value attentionMask)
    {
        const string module = "/model";
        Value keys = _emit.Op(module, "Unsqueeze", [positions, _emit.Int64s(0)]);
        Value queries = _emit.Op(module, "Unsqueeze", [positions, _emit.Int64s(1)]);
        Value causal = _emit.Op(module, "LessOrEqual", [keys, queries]);
        Value present = _emit.Op(module, "Cast", [attentionMask], ("to", (long)DataType.Bool));
        Value padding = _emit.Op(module, "Unsqueeze", [present, _emit.Int64s(1, 2)]);
        Value visible = _emit.Op(module, "And", [causal, padding]);
        _maskBias = _emit.Op(module, "Where", [visible, _emit.Scalar(0), _emit.Scalar(float.MinValue)]);
    }

    /// <summary>cos and sin [1, 1, sequence, head] of position * theta^(-2i/head); both halves of a head turn by the same angles.</summary>
    private void EmitRotary(Value positions)
    {
        const string module = "/model/rotary_emb";
        int half = _options.EffectiveHeadSize / 2;
        float[] frequencies = new float[half];
        for (int i = 0; i < half; i++)
        {
            frequencies[i] = (float)(1 / Math.Pow(_options.RopeTheta, i / (double)half));
        }

        Value inverseFrequencies = _graph.AddInitializer("model.rotary_emb.inv_freq", DenseTensor.Vector(frequencies));
        Value column = _emit.Op(module, "Unsqueeze", [positions, _emit.Int64s(0, 1, 3)]);
        Value cast = _emit.Op(module, "Cast", [column], ("to", (long)DataType.Float));
        Value angles = _emit.Op(module, "Mul", [cast, inverseFrequencies]);
        Value both = _emit.Op(module, "Concat", [angles, angles], ("axis", -1));
        _cos = _emit.Op(module, "Cos", [both]);
        _sin = _emit.Op(module, "Sin", [both]);
    }

    private Value EmitLayer(string layer, Value hidden)
    {
        string module = ModulePath(layer);
        Value attention = EmitAttention(layer, EmitRmsNorm($"{layer}.input_layernorm", hidden));
        Value middle = _emit.Op(module, "Add", [hidden, attention]);
        Value mlp = EmitMlp(layer, EmitRmsNorm($"{layer}.post_attention_layernorm", middle));
        return _emit.Op(module, "Add", [middle, mlp]);
    }

    private Value EmitAttention(string layer, Value x)
    {
        string attention = $"{layer}.self_attn";
        string module = ModulePath(attention);
        long headSize = _options.EffectiveHeadSize;
        Value queries = EmitRotation(module, EmitHeads(module, EmitLinear($"{attention}.q_proj", x), _options.HeadCount));
        Value keys = EmitRotation(module, EmitHeads(module, EmitLinear($"{attention}.k_proj", x), _options.EffectiveKeyValueHeadCount));
        Value values = EmitHeads(module, EmitLinear($"{attention}.v_proj", x), _options.EffectiveKeyValueHeadCount);
        keys = EmitRepeat(module, keys);
        values = EmitRepeat(module, values);

        Value keysTransposed = _emit.Op(module, "Transpose", [keys], ("perm", new long[] { 0, 1, 3, 2 }));
        Value products = _emit.Op(module, "MatMul", [queries, keysTransposed]);
        Value scaled = _emit.Op(module, "Mul", [products, _emit.Scalar(1 / Math.Sqrt(headSize))]);
        Value scores = _emit.Op(module, "Add", [scaled, _maskBias]);
        Value probabilities = _emit.Op(module, "Softmax", [scores], ("axis", -1));
        Value mixed = _emit.Op(module, "MatMul", [probabilities, values]);
        Value bySequence = _emit.Op(module, "Transpose", [mixed], ("perm", new long[] { 0, 2, 1, 3 }));
        Value shape = _emit.Op(module, "Concat", [_batch, _sequence, _emit.Int64s(_options.HeadCount * headSize)], ("axis", 0));
        return EmitLinear($"{attention}.o_proj", _emit.Op(module, "Reshape", [bySequence, shape]));
    }

    /// <summary>[batch, sequence, heads * head] to [batch, heads, sequence, head].</summary>
    private Value EmitHeads(string module, Value x, long heads)
    {
        Value shape = _emit.Op(module, "Concat", [_batch, _sequence, _emit.Int64s(heads, _options.EffectiveHeadSize)], ("axis", 0));
        Value split = _emit.Op(module, "Reshape", [x, shape]);
        return _emit.Op(module, "Transpose", [split], ("perm", new long[] { 0, 2, 1, 3 }));
    }

    /// <summary>x * cos + [-second half, first half] * sin (Su et al. 2021, in the half-split form of GPT-NeoX).</summary>
    private Value EmitRotation(string module, Value x)
    {
        long half = _options.EffectiveHeadSize / 2;
        Value first = _emit.Op(module, "Slice", [x, _emit.Int64s(0), _emit.Int64s(half), _emit.Int64s(3), _emit.Int64s(1)]);
        Value second = _emit.Op(module, "Slice", [x, _emit.Int64s(half), _emit.Int64s(long.MaxValue), _emit.Int64s(3), _emit.Int64s(1)]);
        Value negated = _emit.Op(module, "Neg", [second]);
        Value turned = _emit.Op(module, "Concat", [negated, first], ("axis", -1));
        Value along = _emit.Op(module, "Mul", [x, _cos]);
        Value across = _emit.Op(module, "Mul", [turned, _sin]);
        return _emit.Op(module, "Add", [along, across]);
    }

    /// <summary>Gives each query head the key or value head it shares: [batch, kv heads, s, h] to [batch, heads, s, h].</summary>
    private Value EmitRepeat(string module, Value x)
    {
        long heads = _options.EffectiveKeyValueHeadCount;
        long headSize = _options.EffectiveHeadSize;
        if (heads == _options.HeadCount)
        {
            return x;
        }

        Value single = _emit.Op(module, "Unsqueeze", [x, _emit.Int64s(2)]);
        Value grouped = _emit.Op(module, "Concat", [_batch, _emit.Int64s(heads, _options.HeadCount / heads), _sequence, _emit.Int64s(headSize)], ("axis", 0));
        Value expanded = _emit.Op(module, "Expand", [single, grouped]);
        Value flat = _emit.Op(module, "Concat", [_batch, _emit.Int64s(_options.HeadCount), _sequence, _emit.Int64s(headSize)], ("axis", 0));
        return _emit.Op(module, "Reshape", [expanded, flat]);
    }

    /// <summary>down(silu(gate(x)) * up(x)) (Shazeer 2020).</summary>
    private Value EmitMlp(string layer, Value x)
    {
        string mlp = $"{layer}.mlp";
        string activation = $"{ModulePath(mlp)}/act_fn";
        Value gate = EmitLinear($"{mlp}.gate_proj", x);
        Value up = EmitLinear($"{mlp}.up_proj", x);
        Value sigmoid = _emit.Op(activation, "Sigmoid", [gate]);
        Value silu = _emit.Op(activation, "Mul", [gate, sigmoid]);
        Value gated = _emit.Op(ModulePath(mlp), "Mul", [silu, up]);
        return EmitLinear($"{mlp}.down_proj", gated);
    }

    private Value EmitLinear(string parameterPath, Value x) => _emit.Op(ModulePath(parameterPath), "MatMul", [x, Weight($"{parameterPath}.weight")]);

    /// <summary>weight * x / sqrt(mean(x^2) + epsilon) (Zhang and Sennrich 2019).</summary>
    private Value EmitRmsNorm(string parameterPath, Value x)
    {
        string module = ModulePath(parameterPath);
        Value squares = _emit.Op(module, "Pow", [x, _emit.Scalar(2)]);
        Value mean = _emit.MeanOverLastAxis(module, squares);
        Value shifted = _emit.Op(module, "Add", [mean, _emit.Scalar(_options.NormEpsilon)]);
        Value root = _emit.Op(module, "Sqrt", [shifted]);
        Value inverse = _emit.Op(module, "Div", [_emit.Scalar(1), root]);
        Value normalised = _emit.Op(module, "Mul", [x, inverse]);
        return _emit.Op(module, "Mul", [Weight($"{parameterPath}.weight"), normalised]);
    }

    private Value Weight(string name) => _graph.AddInitializer(name, _weights[name]);

    /// <summary><c>model.layers.0.mlp.up_proj</c> to <c>/model/layers.0/mlp/up_proj</c>: list indices stay with their list.</summary>
    private static string ModulePath(string parameterPath)
    {
        string[] parts = parameterPath.Split('.');
        return "/" + string.Concat(parts.Select((part, i) => i == 0 ? part : char.IsAsciiDigit(part[0]) ? "." + part : "/" + part));
    }
}
