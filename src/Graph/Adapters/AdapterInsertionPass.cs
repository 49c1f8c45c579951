using OrtQLoRA.Graph.Adapters.BaseWeights;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>
/// Puts an adapter into a model: adds its tensors as graph inputs, turns trained weights of the base into graph inputs and
/// inserts the method's branches. Requires inferred types; run it after quantization. Two models that are equal before are
/// equal after (but for dropout), so that a training and an eval model can be made from clones.
/// </summary>
public sealed class AdapterInsertionPass : GraphPass
{
    private readonly IAdapterMethod _method;
    private readonly AdapterConfig _config;

    /// <summary>Creates the pass.</summary>
    /// <param name="method">The adapter method.</param>
    /// <param name="config">Its configuration.</param>
    public AdapterInsertionPass(IAdapterMethod method, AdapterConfig config)
    {
        _method = method;
        _config = config;
    }

    /// <summary>Whether the graph is for training: with dropout. Default true.</summary>
    public bool IsTraining { get; init; } = true;

    /// <summary>Seed of first values and dropout masks.</summary>
    public int Seed { get; init; }

    /// <summary>Tensors to start from instead of the method's own first values; null for those.</summary>
    public AdapterWeights? InitialWeights { get; init; }

    /// <summary>How the base was prepared for the adapter before; null if it was not.</summary>
    public BasePreparation? Preparation { get; init; }

    /// <summary>Tensors that are not trained, by name, as another graph of the same run holds them; null to make them.</summary>
    public IReadOnlyDictionary<string, ITensor>? Frozen { get; init; }

    /// <summary>What the last run inserted.</summary>
    /// <exception cref="InvalidOperationException">The pass has not run.</exception>
    public InsertedAdapter Inserted => _inserted ?? throw new InvalidOperationException("The pass has not run yet.");

    private InsertedAdapter? _inserted;

    /// <inheritdoc/>
    /// <exception cref="ConfigurationException">The configuration does not fit the model, or the initial weights do not fit the adapter; every mismatch is listed.</exception>
    public override bool Run(OnnxModel model)
    {
        LinearSites sites = LinearFinder.Find(model);
        AdapterPlan plan = _method.Plan(sites, _config);
        List<TrainableParameter> parameters = [];
        Dictionary<AdapterTensor, Value> inputs = [];
        Dictionary<AdapterTensor, ITensor> frozen = [];
        InitialTensors initial = new(plan, InitialWeights, Seed, Preparation?.Started);
        foreach (AdapterTensor tensor in plan.Tensors)
        {
            if (!tensor.IsTrained)
            {
                // Training and eval graph hold one and the same tensor, which engines then keep once.
                ITensor content = Frozen?.GetValueOrDefault(tensor.Name) ?? initial.Of(tensor);
                frozen[tensor] = content;
                inputs[tensor] = model.Graph.AddInitializer(model.Graph.Names.Reserve(tensor.Name), content);
                continue;
            }

            Value input = model.Graph.AddInput(model.Graph.Names.Reserve(tensor.Name), DataType.Float, Shape.Of(tensor.Dims));
            inputs[tensor] = input;
            parameters.Add(new TrainableParameter
            {
                Name = input.Name,
                FileKey = tensor.FileKey,
                GradientKey = tensor.GradientKey ?? tensor.FileKey,
                Preconditioner = tensor.Preconditioner?.Invoke(t => initial.Of(t).ToFloats()).ToTensor(),
                InitialValue = initial.Of(tensor),
            });
        }

        foreach (TrainedWeight weight in plan.TrainedWeights)
        {
            Value input = TrainedWeightInput.Create(model, weight, sites);
            parameters.Add(new TrainableParameter
            {
                Name = input.Name,
                FileKey = weight.FileKey,
                IsTransposedInFile = weight.Parameter.IsTransposed,
                InitialValue = initial.Of(weight),
            });
        }

        AdapterInsertionContext context = new(model, inputs, IsTraining, Seed);
        plan.Insert(context);
        _inserted = new InsertedAdapter(_method, plan, parameters, frozen, context.Penalties, Preparation?.Initial);
        return parameters.Count > 0;
    }
}
