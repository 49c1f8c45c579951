using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Passes.MixedPrecision;

/// <summary>Casts of values to other precisions, each emitted once, in front of its first reader.</summary>
internal sealed class PrecisionCasts
{
    private readonly OnnxModel _model;
    private readonly Dictionary<(Value Value, DataType Type), Value> _casts = [];

    internal PrecisionCasts(OnnxModel model)
    {
        _model = model;
    }

    /// <summary>The value in another floating-point type, for a node that stands no earlier than any asked for before.</summary>
    internal Value To(Value value, DataType type, Node reader)
    {
        if (value.ElementType == type)
        {
            return value;
        }

        if (value.Producer is { } producer && producer.Is("Cast") && producer.InputOrNull(0) is { } source && source.ElementType == type && IsExact(type, value.ElementType))
        {
            return source;
        }

        if (!_casts.TryGetValue((value, type), out Value? cast))
        {
            GraphBuilder builder = new(_model.Graph, _model.Opset, reader) { Scope = "precision/" };
            cast = builder.Cast(value, type);
            _casts[(value, type)] = cast;
        }

        return cast;
    }

    private static bool IsExact(DataType narrow, DataType wide) => wide == DataType.Float && narrow is DataType.Float16 or DataType.BFloat16;
}
