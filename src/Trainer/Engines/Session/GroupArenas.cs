using System.Collections.Immutable;
using OrtQLoRA.Graph.Optimizers;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Values, gradients and optimizer states of one parameter group.</summary>
internal sealed class GroupArenas : IDisposable
{
    private readonly Dictionary<string, ImmutableArray<long>> _shapes;

    internal GroupArenas(ArenaGroup group, IReadOnlyList<OptimizerState> states, IArenaAllocator allocator)
    {
        Name = group.Group.Name;
        Parameters = new TensorArena(group, allocator);
        Gradients = new TensorArena(group, allocator);
        States = states.ToDictionary(s => s.Name, s => new TensorArena(group, allocator, s));
        _shapes = group.Slots.ToDictionary(s => s.Parameter.Name, s => s.Parameter.InitialValue.Dims);
    }

    internal string Name { get; }

    internal TensorArena Parameters { get; }

    internal TensorArena Gradients { get; }

    internal IReadOnlyDictionary<string, TensorArena> States { get; }

    internal ImmutableArray<long> ShapeOf(string parameter) => _shapes[parameter];

    public void Dispose()
    {
        Parameters.Dispose();
        Gradients.Dispose();
        foreach (TensorArena state in States.Values)
        {
            state.Dispose();
        }
    }
}
