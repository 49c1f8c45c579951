using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// One direction of a recurrent layer under differentiation, its steps in the order of computation. All hidden states are
/// known from the layer's output, so that what the gates were computed from is a product over all steps at once; only what truly
/// runs from step to step goes through Scan.
/// </summary>
internal sealed class RecurrentPass
{
    /// <summary>Emits the nodes.</summary>
    public required GraphBuilder Builder { get; init; }

    /// <summary>The layer's node.</summary>
    public required Node Node { get; init; }

    /// <summary>Number of hidden values.</summary>
    public required long Hidden { get; init; }

    /// <summary>Sums of the gates over the input without bias, [sequence, batch, gates * hidden].</summary>
    public required Value InputSums { get; init; }

    /// <summary>Weights of the hidden state, [gates * hidden, hidden].</summary>
    public required Value HiddenWeight { get; init; }

    /// <summary>Bias of the sums over the input, [gates * hidden]; null for none.</summary>
    public required Value? InputBias { get; init; }

    /// <summary>Bias of the sums over the hidden state; null for none.</summary>
    public required Value? HiddenBias { get; init; }

    /// <summary>Hidden states of each step, [sequence, batch, hidden].</summary>
    public required Value States { get; init; }

    /// <summary>Hidden states before each step.</summary>
    public required Value PreviousStates { get; init; }

    /// <summary>Cell state before the first step, [batch, hidden]; null where the cell has none.</summary>
    public required Value? InitialCell { get; init; }

    /// <summary>Gradient of the hidden states of each step.</summary>
    public required Value StateGradients { get; init; }

    /// <summary>Gradient of the last hidden state, [batch, hidden].</summary>
    public required Value LastHiddenGradient { get; init; }

    /// <summary>Gradient of the last cell state; null where the cell has none.</summary>
    public required Value? LastCellGradient { get; init; }

    /// <summary>Activations, in the order of the operator.</summary>
    public required string[] Activations { get; init; }

    /// <summary>Parts of one size of the last axis.</summary>
    public IReadOnlyList<Value> Split(Value value, int parts)
    {
        if (parts == 1)
        {
            return [value];
        }

        Value sizes = Builder.Int64s([.. Enumerable.Repeat(Hidden, parts)]);
        return Builder.Emit("Split", "", [value, sizes], parts, ("axis", -1L)).Outputs;
    }

    /// <summary>Some gates' rows of a weight [gates * hidden, ...] or bias.</summary>
    public Value Rows(Value weight, int firstGate, int gates) => Builder.Op(
        "Slice", [weight, Builder.Int64s(firstGate * Hidden), Builder.Int64s((firstGate + gates) * Hidden), Builder.Int64s(0)]);

    /// <summary>x times the transposed weight, plus a bias.</summary>
    public Value Project(Value x, Value weight, Value? bias) => Plus(Builder.MatMul(x, Builder.Transpose(weight, 1, 0)), bias);

    /// <summary>A sum, or the value itself where there is nothing to add.</summary>
    public Value Plus(Value x, Value? bias) => bias is null ? x : Builder.Add(x, bias);

    /// <summary>s * (1 - s), the slope of the sigmoid whose value is s.</summary>
    public Value SigmoidSlope(Value s) => Builder.Mul(s, OneMinus(s));

    /// <summary>1 - t * t, the slope of the tangent whose value is t.</summary>
    public Value TanhSlope(Value t) => OneMinus(Builder.Mul(t, t));

    /// <summary>1 - x.</summary>
    public Value OneMinus(Value x) => Builder.Sub(Builder.ScalarLike(x, 1), x);

    /// <summary>Runs a body over the steps.</summary>
    /// <param name="states">Values before the first step; the body gives those after its step.</param>
    /// <param name="sequences">Values with a leading axis of steps, of which the body sees one step.</param>
    /// <param name="isReversed">Whether the last step comes first.</param>
    /// <param name="outputs">Number of values that the body gives of each step, stacked as the sequences are.</param>
    /// <param name="body">Takes states and steps, gives the next states and then the outputs.</param>
    /// <returns>The states after the last step, then the stacked outputs.</returns>
    public IReadOnlyList<Value> Scan(
        IReadOnlyList<Value> states, IReadOnlyList<Value> sequences, bool isReversed, int outputs, Func<GraphBuilder, IReadOnlyList<Value>, IEnumerable<Value>> body)
    {
        OnnxGraph inner = new(Builder.Graph.NodeNames.Reserve($"{Builder.Scope}step"), Builder.Graph);
        GraphBuilder b = new(inner, Builder.Opset) { Scope = Builder.Scope };
        List<Value> inputs = [];
        foreach (Value value in states.Concat(sequences))
        {
            Shape? shape = inputs.Count < states.Count || value.Shape is null ? value.Shape : new Shape(value.Shape.Skip(1));
            inputs.Add(inner.AddInput(inner.Names.Reserve($"{Builder.Scope}step_{(inputs.Count < states.Count ? "state" : "input")}"), value.ElementType, shape));
        }

        foreach (Value result in body(b, inputs))
        {
            // A subgraph's output is a node's: one that is handed through needs a node of its own.
            inner.AddOutput(result.Producer is null ? b.Op("Identity", [result]) : result);
        }

        long[] directions = [.. Enumerable.Repeat(isReversed ? 1L : 0L, sequences.Count)];
        Node scan = Builder.Emit(
            "Scan", "", [.. states, .. sequences], states.Count + outputs,
            ("body", NodeAttribute.Of(inner)), ("num_scan_inputs", (long)sequences.Count), ("scan_input_directions", directions),
            ("scan_output_directions", Enumerable.Repeat(isReversed ? 1L : 0L, outputs).ToArray()));
        for (int i = 0; i < scan.Outputs.Count; i++)
        {
            Value made = inner.Outputs[i];
            scan.Outputs[i].Type = i < states.Count ? states[i].Type : new OnnxType.Tensor(made.ElementType, Stacked(made.Shape, sequences[0].Shape));
        }

        return scan.Outputs;
    }

    private static Shape? Stacked(Shape? step, Shape? sequence) => step is null || sequence is null ? null : new Shape([sequence[0], .. step]);
}
