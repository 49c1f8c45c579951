using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Convolutions and pooling: windows that slide over the axes after batch and channels.</summary>
internal static class ConvolutionRules
{
    internal static void Register(OperatorRegistry registry)
    {
        registry.Add(call => Conv(call, call.CommonType(0, 1, 2), 1), "Conv");
        registry.Add(call => Conv(call, DataType.Int32, 1), "ConvInteger");
        registry.Add(call => Conv(call, call.TypeOf(7), 3), "QLinearConv");
        registry.Add(ConvTranspose, "ConvTranspose");
        registry.Add(Pool, "MaxPool", "AveragePool", "LpPool");
        registry.Add(GlobalPool, "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool");
        registry.AddTo(OperatorDomains.Microsoft, call => Conv(call, call.CommonType(0, 1, 2), 1), "FusedConv");
    }

    private static void Conv(OperatorCall call, DataType type, int weightInput)
    {
        Shape? input = call.ShapeOf(0);
        Shape? weight = call.ShapeOf(weightInput);
        if (input is null || weight is null || input.Rank < 3)
        {
            call.Set(0, type, null);
            return;
        }

        if (weight.Rank != input.Rank)
        {
            throw call.Error($"weight {call.Node.Inputs[weightInput]} needs the rank of {call.Node.Inputs[0]}");
        }

        Dimension channels = (weight[1].ToExpression() * SymbolicExpression.Of(call.Node.GetInt("group", 1))).ToDimensionOrUnknown();
        call.RequireEqual(input[1], channels, "channels of the input and of the weight times groups");
        SlidingWindow window = SlidingWindow.Read(call, input.Rank - 2, call.Node.GetInts("kernel_shape") ?? KernelOf(weight));
        call.Set(0, type, new Shape([input[0], weight[0], .. window.OutputSizes(input.Skip(2))]));
    }

    private static long[]? KernelOf(Shape weight)
    {
        Shape kernel = new(weight.Skip(2));
        return kernel.IsStatic ? kernel.ToArray() : null;
    }

    private static void ConvTranspose(OperatorCall call)
    {
        DataType type = call.CommonType(0, 1, 2);
        Shape? input = call.ShapeOf(0);
        Shape? weight = call.ShapeOf(1);
        if (input is null || weight is null || input.Rank < 3)
        {
            call.Set(0, type, null);
            return;
        }

        if (weight.Rank != input.Rank)
        {
            throw call.Error($"weight {call.Node.Inputs[1]} needs the rank of {call.Node.Inputs[0]}");
        }

        call.RequireEqual(input[1], weight[0], "channels of the input and of the weight");
        int axes = input.Rank - 2;
        Dimension channels = (weight[1].ToExpression() * SymbolicExpression.Of(call.Node.GetInt("group", 1))).ToDimensionOrUnknown();
        IEnumerable<Dimension> spatial = call.Node.GetInts("output_shape") is long[] given && given.Length >= axes
            ? given.TakeLast(axes).Select(d => Dimension.Of(d))
            : SlidingWindow.Read(call, axes, call.Node.GetInts("kernel_shape") ?? KernelOf(weight)).TransposedSizes(input.Skip(2));
        call.Set(0, type, new Shape([input[0], channels, .. spatial]));
    }

    private static void Pool(OperatorCall call)
    {
        Shape? result = null;
        if (call.ShapeOf(0) is { Rank: >= 3 } shape)
        {
            SlidingWindow window = SlidingWindow.Read(call, shape.Rank - 2, call.Node.GetInts("kernel_shape"));
            result = new Shape([shape[0], shape[1], .. window.OutputSizes(shape.Skip(2))]);
        }

        call.Set(0, call.TypeOf(0), result);
        call.Set(1, DataType.Int64, result);
    }

    private static void GlobalPool(OperatorCall call) =>
        call.Set(0, call.TypeOf(0), call.ShapeOf(0) is Shape shape ? new Shape(shape.Select((d, i) => i < 2 ? d : 1)) : null);
}
