using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>An adapter as it was put into a model: what is trained, and how it is written to files.</summary>
public sealed class InsertedAdapter
{
    private readonly IReadOnlyDictionary<string, ITensor> _start;

    internal InsertedAdapter(
        IAdapterMethod method,
        AdapterPlan plan,
        IReadOnlyList<TrainableParameter> parameters,
        IReadOnlyDictionary<AdapterTensor, ITensor> frozen,
        IReadOnlyList<Value> penalties,
        IReadOnlyDictionary<string, ITensor>? start)
    {
        _start = start ?? new Dictionary<string, ITensor>();
        Frozen = frozen;
        Penalties = penalties;
        Method = method;
        Plan = plan;
        Parameters = parameters;
    }

    /// <summary>The method.</summary>
    public IAdapterMethod Method { get; }

    /// <summary>What the method does to the model.</summary>
    public AdapterPlan Plan { get; }

    /// <summary>Everything that is trained: the method's tensors, then weights of the base.</summary>
    public IReadOnlyList<TrainableParameter> Parameters { get; }

    /// <summary>The method's tensors that are not trained.</summary>
    public IReadOnlyDictionary<AdapterTensor, ITensor> Frozen { get; }

    /// <summary>Scalars of the graph that are added to the loss.</summary>
    public IReadOnlyList<Value> Penalties { get; }

    /// <summary>The adapter with the given values of its parameters, in the orientation and under the keys of its file.</summary>
    /// <param name="values">Current values by parameter name, as the graph holds them.</param>
    public AdapterWeights ToWeights(Func<string, ITensor> values)
    {
        ArgumentNullException.ThrowIfNull(values);
        Dictionary<string, ITensor> tensors = new(StringComparer.Ordinal);
        foreach (TrainableParameter parameter in Parameters)
        {
            tensors[parameter.FileKey] = parameter.ToFile(values(parameter.Name));
        }

        foreach ((AdapterTensor tensor, ITensor content) in Frozen.Where(f => f.Key.IsWritten))
        {
            tensors[tensor.FileKey] = content;
        }

        foreach (SavedWeight saved in Plan.SavedWeights)
        {
            tensors[saved.FileKey] = saved.Parameter.IsTransposed ? new TransposedTensor(ParameterValues.Of(saved.Parameter)) : ParameterValues.Of(saved.Parameter);
        }

        foreach ((string key, string original) in Plan.Duplicates)
        {
            tensors[key] = tensors[original];
        }

        return Plan.ToFile(new AdapterWeights(Method, Plan.Config, tensors) { Start = _start });
    }

    /// <summary>The adapter with the values that training starts from.</summary>
    public AdapterWeights InitialWeights()
    {
        Dictionary<string, ITensor> initial = Parameters.ToDictionary(p => p.Name, p => p.InitialValue);
        return ToWeights(name => initial[name]);
    }
}
