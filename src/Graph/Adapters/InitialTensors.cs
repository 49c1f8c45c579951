using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>First values of everything that a plan trains or adds: from a file where one is given, else the method's own.</summary>
internal sealed class InitialTensors
{
    private readonly InitialValues? _file;
    private readonly int _seed;
    private readonly Dictionary<AdapterTensor, ITensor> _made = new(ReferenceEqualityComparer.Instance);

    private readonly IReadOnlyDictionary<string, ITensor>? _started;

    public InitialTensors(AdapterPlan plan, AdapterWeights? weights, int seed, IReadOnlyDictionary<string, ITensor>? started = null)
    {
        _started = started;
        _file = weights is null ? null : new InitialValues(weights, plan);
        _seed = seed;
    }

    public ITensor Of(AdapterTensor tensor)
    {
        if (_file?.TryOf(tensor) is { } given)
        {
            return given;
        }

        if (_started?.GetValueOrDefault(tensor.Name) is { } started)
        {
            return started;
        }

        if (!_made.TryGetValue(tensor, out ITensor? made))
        {
            float[] values = new float[checked((int)tensor.ElementCount)];
            tensor.Initialize(new FirstValues(_seed, tensor.Name, Of), values);
            _made[tensor] = made = DenseTensor.Of([.. tensor.Dims], values);
        }

        return made;
    }

    public ITensor Of(TrainedWeight weight) => _file?.Of(weight) ?? FloatTensor.Of(ParameterValues.Of(weight.Parameter));
}
