using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>An adapter as it was put into a model: what is trained, and how it is written to files.</summary>
public sealed class InsertedAdapter
{
    internal InsertedAdapter(IAdapterMethod method, AdapterPlan plan, IReadOnlyList<TrainableParameter> parameters)
    {
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

        foreach (SavedWeight saved in Plan.SavedWeights)
        {
            tensors[saved.FileKey] = saved.Parameter.IsTransposed ? new TransposedTensor(saved.Parameter.Content) : saved.Parameter.Content;
        }

        foreach ((string key, string original) in Plan.Duplicates)
        {
            tensors[key] = tensors[original];
        }

        return new AdapterWeights(Method, Plan.Config, tensors);
    }

    /// <summary>The adapter with the values that training starts from.</summary>
    public AdapterWeights InitialWeights()
    {
        Dictionary<string, ITensor> initial = Parameters.ToDictionary(p => p.Name, p => p.InitialValue);
        return ToWeights(name => initial[name]);
    }
}
