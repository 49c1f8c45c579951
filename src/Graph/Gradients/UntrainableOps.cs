using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>Operators that stand in real models where training cannot pass, and the nearest form in which it can.</summary>
internal static class UntrainableOps
{
    private const string Dynamic = "It computes on activations that are rounded to integers, and nothing right behind it brings the result back by the scales (Cast and Mul, as ONNX Runtime's dynamic quantization writes), so that no gradient can be passed straight through. Quantize the float model with DequantizeLinear and QuantizeLinear around float operators (QDQ format), or train the float model and quantize it afterwards";
    private const string Static = "It computes on quantized activations as one operator (QOperator format), which has no gradient. Quantize the float model in QDQ format (quant_format=QuantFormat.QDQ), where a gradient is passed straight through the rounding, or train the float model and quantize it afterwards";
    private const string Recurrent = "Recurrent cells with attention are not differentiated. Take the layers behind it as targets, or export the cell unrolled into MatMul, Sigmoid and Tanh for the sequence length to be trained";
    private const string Loop = "Loops are not differentiated. Export the model for a fixed number of rounds, so that the exporter unrolls them, or take the layers behind it as targets";
    private const string Search = "It generates text around a decoder held inside. Train the decoder's own model, not the search around it";

    private static readonly Dictionary<string, string> Remedies = new(StringComparer.Ordinal)
    {
        ["MatMulInteger"] = Dynamic,
        ["ConvInteger"] = Dynamic,
        ["DynamicQuantizeLinear"] = Dynamic,
        ["DynamicQuantizeMatMul"] = Dynamic,
        ["MatMulIntegerToFloat"] = Dynamic,
        ["DynamicQuantizeLSTM"] = Dynamic,
        ["QLinearMatMul"] = Static,
        ["QLinearConv"] = Static,
        ["QGemm"] = Static,
        ["QAttention"] = Static,
        ["QEmbedLayerNormalization"] = Static,
        ["QLinearAdd"] = Static,
        ["QLinearMul"] = Static,
        ["QLinearSigmoid"] = Static,
        ["QLinearSoftmax"] = Static,
        ["QLinearConcat"] = Static,
        ["QLinearLeakyRelu"] = Static,
        ["QLinearAveragePool"] = Static,
        ["QLinearGlobalAveragePool"] = Static,
        ["QuantizeLinear"] = "Its result is not read by a DequantizeLinear with the same scale and zero point, through which a gradient could be passed straight. Put one behind it (QDQ format), or train the float model and quantize it afterwards",
        ["AttnLSTM"] = Recurrent,
        ["Loop"] = Loop,
        ["Scan"] = Loop,
        ["BeamSearch"] = Search,
        ["GreedySearch"] = Search,
        ["Sampling"] = Search,
        ["WhisperBeamSearch"] = Search,
        ["PagedAttention"] = "It reads keys and values from the pages of a server's cache. Export the model with GroupQueryAttention or plain operators",
        ["SparseAttention"] = "Block-sparse attention is not differentiated. Export the model with plain attention (attn_implementation=eager)",
        ["LongformerAttention"] = "Longformer's attention is not differentiated as one operator. Use the model before ONNX Runtime's optimization",
        ["DecoderMaskedMultiHeadAttention"] = "It computes one token of a search at a time. Use the model before the conversion to beam or greedy search",
        ["DecoderMaskedSelfAttention"] = "It computes one token of a search at a time. Use the model before the conversion to beam or greedy search",
        ["MatMulBnb4"] = "Weights in bitsandbytes' 4-bit tables are not differentiated. Quantize the float model with MatMulNBits instead",
    };

    /// <summary>What to do about a node, or null if nothing better is known than to write a rule.</summary>
    public static string? Remedy(Node node) =>
        node.Is("If") ? "The condition of this If is not known for training. Fix its condition (export without the branch, or make the input that it reads an initializer), so that the branch taken is known"
        : Remedies.GetValueOrDefault(node.OpType);
}
