using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>What a method sees while it adds its branches to a graph.</summary>
public sealed class AdapterInsertionContext
{
    private readonly Dictionary<AdapterTensor, Value> _inputs;
    private readonly int _seed;
    private readonly List<Value> _penalties = [];

    internal AdapterInsertionContext(OnnxModel model, Dictionary<AdapterTensor, Value> inputs, bool isTraining, int seed)
    {
        Model = model;
        _inputs = inputs;
        IsTraining = isTraining;
        _seed = seed;
    }

    /// <summary>The model being changed.</summary>
    public OnnxModel Model { get; }

    /// <summary>Whether the graph is for training: with dropout.</summary>
    public bool IsTraining { get; }

    /// <summary>Scalars that are added to the loss, for example AdaLoRA's orthogonality term.</summary>
    public IReadOnlyList<Value> Penalties => _penalties;

    /// <summary>The graph input (or constant, for tensors that are not trained) that holds a tensor of the method.</summary>
    public Value Input(AdapterTensor tensor) => _inputs[tensor];

    /// <summary>A builder that emits at the start of the main graph, for what depends on parameters only.</summary>
    public GraphBuilder AtStart(string scope) => new(Model.Graph, Model.Opset, Model.Graph.First) { Scope = scope };

    /// <summary>A builder that emits right behind a site's product.</summary>
    public GraphBuilder Behind(LinearSite site, string scope)
    {
        ArgumentNullException.ThrowIfNull(site);
        return new GraphBuilder(site.Node.Graph!, Model.Opset, site.Node.Next) { Scope = scope };
    }

    /// <summary>A builder that emits right before a site's product.</summary>
    public GraphBuilder Before(LinearSite site, string scope)
    {
        ArgumentNullException.ThrowIfNull(site);
        return new GraphBuilder(site.Node.Graph!, Model.Opset, site.Node) { Scope = scope };
    }

    /// <summary>Adds a float scalar to the loss.</summary>
    public void AddPenalty(Value penalty) => _penalties.Add(penalty);

    /// <summary>The value itself, but no gradient passes through it.</summary>
    public static Value Detach(GraphBuilder builder, Value value)
    {
        ArgumentNullException.ThrowIfNull(builder);
        Value detached = builder.Op("Identity", [value]);
        NonDifferentiableOps.Detach(detached.Producer!);
        return detached;
    }

    /// <summary>Dropout in a training graph, the value itself otherwise.</summary>
    /// <param name="builder">Where to emit.</param>
    /// <param name="x">Float input.</param>
    /// <param name="probability">Probability of an element to be dropped; the others are scaled by <c>1 / (1 - probability)</c>.</param>
    /// <param name="purpose">Name from which the mask's seed is derived, beside the run's seed.</param>
    public Value Dropout(GraphBuilder builder, Value x, double probability, string purpose)
    {
        ArgumentNullException.ThrowIfNull(builder);
        if (!IsTraining || probability == 0)
        {
            return x;
        }

        Value numbers = PassRandom.Integers(builder, x, _seed, purpose);
        Value isKept = builder.Op("GreaterOrEqual", [numbers, builder.Scalar((long)(probability * PassRandom.Modulus))]);
        return builder.Where(isKept, builder.Mul(x, 1 / (1 - probability)), builder.Scalar(0f));
    }

    /// <summary>Puts a function behind a value, in as many nodes as it takes; graph outputs keep their names.</summary>
    public static void Rewrite(Value value, Func<Value, Value> emit) => OutputNames.Rewrite(value, emit);

    /// <summary>Makes everything that reads a value read another, which is computed from it; graph outputs keep their names.</summary>
    public static void Redirect(Value value, Value replacement) => OutputNames.Redirect(value, replacement);
}
