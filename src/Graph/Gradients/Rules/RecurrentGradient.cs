using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// Backpropagation through time of LSTM, GRU and RNN: for each direction the gradient of the gates' sums runs from the last
/// step to the first (<see cref="RecurrentCell"/>); inputs, weights and biases then get theirs by one product over all steps.
/// </summary>
internal sealed class RecurrentGradient
{
    private const int X = 0;
    private const int InputWeight = 1;
    private const int HiddenWeight = 2;
    private const int Bias = 3;
    private const int InitialHidden = 5;
    private const int InitialCell = 6;

    private readonly GradientContext _context;
    private readonly RecurrentCell _cell;
    private readonly string[] _activations;
    private readonly long _hidden;

    public RecurrentGradient(GradientContext context, RecurrentCell cell)
    {
        _context = context;
        _cell = cell;
        _activations = Activations();
        _hidden = context.Input(HiddenWeight).Shape is [_, _, { Value: long hidden }]
            ? hidden
            : throw context.Unsupported("the shape of its weights R is not known", "Give R as an initializer.");
        RefuseOptions();
    }

    private GraphBuilder B => _context.Builder;

    private string Direction => _context.Node.GetString("direction", "forward");

    private int Directions => Direction == "bidirectional" ? 2 : 1;

    public IReadOnlyList<Value?> Build()
    {
        OnnxType outputType = new OnnxType.Tensor(_context.Input(X).ElementType, null);
        Value y = _context.RequireOutput(0, "states", outputType);
        if (y.Shape is null)
        {
            Shape? x = _context.Input(X).Shape;
            y.Type = new OnnxType.Tensor(y.ElementType, x is [var steps, var rows, _] ? new Shape(steps, Dimension.Of(Directions), rows, Dimension.Of(_hidden)) : null);
        }

        List<Value?[]> directions = [.. Enumerable.Range(0, Directions).Select(d => Differentiate(d, y))];
        return _context.ForEachNeeded(i => i == X
            ? directions.Select(d => d[X]!).Aggregate(B.Add)
            : directions.Count == 1 ? B.Unsqueeze(directions[0][i]!, 0) : B.Concat(0, directions.Select(d => B.Unsqueeze(d[i]!, 0))));
    }

    // Gradients of one direction, by position of the input; without the axis of directions.
    private Value?[] Differentiate(int direction, Value y)
    {
        bool isReversed = Direction == "reverse" || direction == 1;
        Value Ordered(Value v) => isReversed ? Reversed(v) : v;
        Value x = Ordered(_context.Input(X));
        Value inputWeight = Part(_context.Input(InputWeight), direction, 0);
        Value states = Ordered(Part(y, direction, 1));
        Value first = B.Op("Slice", [states, B.Int64s(0), B.Int64s(1), B.Int64s(0)]);
        Value zeros = B.Squeeze(_context.ZerosLike(first), 0);
        Value State(int input) => _context.Node.InputOrNull(input) is { } given ? Part(given, direction, 0) : zeros;
        Value LastGradient(int output) => _context.OutputGradientOrNull(output) is { } given ? Part(given, direction, 0) : zeros;
        Value? bias = _context.Node.InputOrNull(Bias) is { } biases ? Part(biases, direction, 0) : null;
        Value? BiasPart(int part) => bias is null
            ? null
            : B.Op("Slice", [bias, B.Int64s(part * _cell.Gates * _hidden), B.Int64s((part + 1) * _cell.Gates * _hidden), B.Int64s(0)]);
        RecurrentPass pass = new()
        {
            Builder = B,
            Node = _context.Node,
            Hidden = _hidden,
            Activations = _activations,
            InputSums = B.MatMul(x, B.Transpose(inputWeight, 1, 0)),
            HiddenWeight = Part(_context.Input(HiddenWeight), direction, 0),
            InputBias = BiasPart(0),
            HiddenBias = BiasPart(1),
            States = states,
            PreviousStates = B.Concat(0, B.Unsqueeze(State(InitialHidden), 0), B.Op("Slice", [states, B.Int64s(0), B.Int64s(-1), B.Int64s(0)])),
            InitialCell = _cell.HasCellState ? State(InitialCell) : null,
            StateGradients = _context.OutputGradientOrNull(0) is { } dy ? Ordered(Part(dy, direction, 1)) : _context.ZerosLike(states),
            LastHiddenGradient = LastGradient(1),
            LastCellGradient = _cell.HasCellState ? LastGradient(2) : null,
        };
        pass.PreviousStates.Type = states.Type;
        RecurrentGateGradients gates = _cell.Differentiate(pass);

        Value?[] gradients = new Value?[_context.Node.Inputs.Count];
        void Set(int input, Func<Value> gradient) => gradients[input] = input < gradients.Length && _context.NeedsGradient(input) ? gradient() : null;
        Set(X, () => Ordered(B.MatMul(gates.Input, inputWeight)));
        Set(InputWeight, () => OuterSum(gates.Input, _cell.Gates, x, Width(_context.Input(InputWeight))));
        Set(HiddenWeight, () => Joined(0, gates.Hidden.Select(h => OuterSum(h.Gradient, h.Gates, h.Operand, _hidden))));
        if (bias is not null)
        {
            Value hidden = Joined(-1, gates.Hidden.Select(h => h.Gradient));
            Set(Bias, () => B.Concat(0, B.ReduceSum(gates.Input, keepDims: false, 0, 1), B.ReduceSum(hidden, keepDims: false, 0, 1)));
        }

        if (_context.Node.InputOrNull(InitialHidden) is not null)
        {
            Set(InitialHidden, () => gates.InitialHidden);
        }

        if (_context.Node.InputOrNull(InitialCell) is not null)
        {
            Set(InitialCell, () => gates.InitialCell!);
        }

        return gradients;
    }

    // Sum over steps and rows of the outer products, [gates * hidden, width of x].
    private Value OuterSum(Value gradient, int gates, Value x, long width) =>
        B.MatMul(B.Transpose(B.Reshape(gradient, -1, gates * _hidden), 1, 0), B.Reshape(x, -1, width));

    private Value Joined(long axis, IEnumerable<Value> parts)
    {
        Value[] all = [.. parts];
        return all.Length == 1 ? all[0] : B.Concat(axis, all);
    }

    private long Width(Value value) => value.Shape is [.., { Value: long width }]
        ? width
        : throw _context.Unsupported($"the last dimension of '{value.Name}' is not known", "Run shape inference before the gradient is built.");

    private Value Part(Value value, int direction, long axis) =>
        Directions == 1 ? B.Squeeze(value, axis) : B.Op("Gather", [value, B.Scalar((long)direction)], ("axis", axis));

    private Value Reversed(Value value)
    {
        Value reversed = B.Op("Slice", [value, B.Int64s(-1), B.Int64s(long.MinValue), B.Int64s(0), B.Int64s(-1)]);
        reversed.Type = value.Type;
        return reversed;
    }

    private string[] Activations()
    {
        if (!_context.Node.Attributes.TryGetValue("activations", out NodeAttribute? given))
        {
            return _cell.DefaultActivations;
        }

        string[] all = [.. given.AsStrings().Select(s => System.Text.Encoding.UTF8.GetString(s.Span))];
        string[] first = [.. all.Take(_cell.DefaultActivations.Length)];
        return _cell.Supports(first) && all.Chunk(first.Length).All(d => d.AsSpan().SequenceEqual(first))
            ? first
            : throw _context.Unsupported($"its activations are {string.Join(", ", all)}", $"Use {string.Join(", ", _cell.DefaultActivations)} in each direction, as PyTorch does.");
    }

    private void RefuseOptions()
    {
        Node node = _context.Node;
        if (node.GetInt("layout", 0) != 0)
        {
            throw _context.Unsupported("its layout puts the batch first", "Export it with layout 0, as PyTorch's exporters do.");
        }

        if (node.InputOrNull(4) is not null)
        {
            throw _context.Unsupported("its rows have lengths of their own (sequence_lens)", "Export the model without packed sequences, rows padded to one length.");
        }

        if (node.InputOrNull(7) is not null || node.Attributes.ContainsKey("clip") || node.GetInt("input_forget", 0) != 0)
        {
            throw _context.Unsupported("it has peepholes, a clip or coupled gates", "Export the cell without them, as PyTorch's cells are.");
        }
    }
}
