namespace OrtQLoRA.Graph.IR;

/// <summary>
/// Which inputs and outputs of well-known ONNX operators must agree in element type, and which have a fixed one.
/// Operators without a rule are not checked.
/// </summary>
internal static class ElementTypeRules
{
    private static readonly DataType[] Bool = [DataType.Bool];
    private static readonly DataType[] Int64 = [DataType.Int64];
    private static readonly DataType[] Index = [DataType.Int32, DataType.Int64];

    private static readonly Dictionary<string, Rule> Rules = Build();

    /// <summary>What is wrong with the element types of a node, as far as they are known.</summary>
    public static IEnumerable<string> FindFaults(Node node)
    {
        if (node.Domain.Length > 0 || !Rules.TryGetValue(node.OpType, out Rule? rule))
        {
            yield break;
        }

        List<Value> alike = [.. node.Inputs.Where((v, i) => v is not null && rule.IsAlike(i)).Select(v => v!)];
        if (rule.OutputsAlike)
        {
            alike.AddRange(node.Outputs.Take(rule.OutputCount));
        }

        Value? first = alike.Find(IsKnown);
        foreach (Value other in alike.Where(v => IsKnown(v) && v.ElementType != first!.ElementType))
        {
            yield return $"{node.Describe()}: '{other.Name}' is {other.ElementType.OnnxName()}, but must be {first!.ElementType.OnnxName()} like '{first.Name}'. Insert a Cast.";
        }

        foreach ((int index, DataType[] types) in rule.Fixed)
        {
            if (node.InputOrNull(index) is { } input && IsKnown(input) && !types.Contains(input.ElementType))
            {
                yield return $"{node.Describe()}: input {index} ('{input.Name}') is {input.ElementType.OnnxName()}, but must be {Names(types)}.";
            }
        }

        if (rule.OutputType is { } expected && node.OutputOrNull(0) is { } output && IsKnown(output) && output.ElementType != expected)
        {
            yield return $"{node.Describe()}: output '{output.Name}' is {output.ElementType.OnnxName()}, but must be {expected.OnnxName()}.";
        }
    }

    private static bool IsKnown(Value value) => value.ElementType != DataType.Undefined;

    private static string Names(DataType[] types) => string.Join(" or ", types.Select(t => t.OnnxName()));

    private static Dictionary<string, Rule> Build()
    {
        Dictionary<string, Rule> rules = new(StringComparer.Ordinal);
        Add(new Rule(_ => true), "Add Sub Mul Div Mod PRelu MatMul Gemm Sum Mean Max Min Concat Clip Conv ConvTranspose "
            + "LayerNormalization InstanceNormalization GroupNormalization");
        Add(new Rule(i => i == 0), "Neg Abs Sqrt Reciprocal Exp Log Sin Cos Tan Erf Tanh Sigmoid Relu LeakyRelu Elu Selu Celu HardSigmoid HardSwish "
            + "Gelu Softplus Softsign Mish Floor Ceil Round Sign Softmax LogSoftmax Identity Transpose Flatten CumSum Trilu Pow Pad "
            + "Dropout TopK ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare "
            + "GlobalAveragePool AveragePool MaxPool");
        Add(new Rule(i => i == 0) { OutputCount = int.MaxValue }, "Split");
        Add(new Rule(i => i == 0) { Fixed = [(1, Int64)] }, "Reshape Expand Tile Squeeze Unsqueeze GatherND");
        Add(new Rule(i => i == 0) { Fixed = [(1, Index)] }, "Gather GatherElements");
        Add(new Rule(i => i == 0) { Fixed = [(1, Index), (2, Index), (3, Index), (4, Index)] }, "Slice");
        Add(new Rule(i => i is 0 or 2) { Fixed = [(1, Int64)] }, "ScatterND");
        Add(new Rule(i => i is 0 or 2) { Fixed = [(1, Index)] }, "ScatterElements");
        Add(new Rule(i => i is 1 or 2) { Fixed = [(0, Bool)] }, "Where");
        Add(new Rule(_ => true) { OutputsAlike = false, OutputType = DataType.Bool }, "Equal Less Greater LessOrEqual GreaterOrEqual");
        Add(new Rule(_ => true) { Fixed = [(0, Bool)] }, "And Or Xor Not");
        Add(new Rule(_ => false) { OutputsAlike = false, OutputType = DataType.Bool }, "IsNaN IsInf");
        Add(new Rule(_ => false) { OutputsAlike = false, OutputType = DataType.Int64 }, "Shape Size NonZero ArgMax ArgMin");
        Add(new Rule(_ => false) { OutputsAlike = false, Fixed = [(0, Bool)] }, "If");
        Add(new Rule(_ => false) { OutputsAlike = false, Fixed = [(0, Int64)] }, "ConstantOfShape");
        return rules;

        void Add(Rule rule, string operators)
        {
            foreach (string op in operators.Split(' '))
            {
                rules.Add(op, rule);
            }
        }
    }

    /// <summary>What must hold for one operator.</summary>
    /// <param name="IsAlike">Inputs that share one type.</param>
    private sealed record Rule(Predicate<int> IsAlike)
    {
        /// <summary>Whether the first outputs share the type too.</summary>
        public bool OutputsAlike { get; init; } = true;

        /// <summary>How many of the outputs do.</summary>
        public int OutputCount { get; init; } = 1;

        /// <summary>Inputs with types of their own.</summary>
        public (int Index, DataType[] Types)[] Fixed { get; init; } = [];

        /// <summary>The fixed type of the first output, if it has one.</summary>
        public DataType? OutputType { get; init; }
    }
}
