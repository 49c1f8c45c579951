using System.Diagnostics.CodeAnalysis;
using OrtQLoRA.Graph.Evaluation.Kernels;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Evaluation;

/// <summary>The kernels of the reference evaluator by domain and operator.</summary>
public sealed class KernelRegistry
{
    private readonly Dictionary<(string Domain, string OpType), ReferenceKernel> _kernels = [];

    /// <summary>A registry with the evaluator's own kernels, to which others may be added.</summary>
    public KernelRegistry()
    {
        ArithmeticKernels.Register(this);
        MathKernels.Register(this);
        ActivationKernels.Register(this);
        LogicKernels.Register(this);
        CastKernels.Register(this);
        ConstantKernels.Register(this);
        ReshapeKernels.Register(this);
        SliceKernels.Register(this);
        ReductionKernels.Register(this);
        MatMulKernels.Register(this);
        EinsumKernel.Register(this);
        GatherKernels.Register(this);
        ScatterKernels.Register(this);
        OrderKernels.Register(this);
        SoftmaxKernels.Register(this);
        NormalizationKernels.Register(this);
        ConvolutionKernels.Register(this);
        PoolingKernels.Register(this);
        QuantizationKernels.Register(this);
        ControlFlowKernels.Register(this);
        RecurrentKernels.Register(this);
        ResizeKernels.Register(this);
        RandomKernels.Register(this);
        SpectralKernels.Register(this);
        ContribKernels.Register(this);
    }

    /// <summary>The evaluator's own kernels.</summary>
    internal static KernelRegistry Default { get; } = new();

    /// <summary>Registered operators.</summary>
    public IEnumerable<(string Domain, string OpType)> Operators => _kernels.Keys;

    /// <summary>Adds a kernel with any number of outputs.</summary>
    /// <exception cref="ArgumentException">The operator has a kernel already.</exception>
    public void AddMany(string opType, ReferenceKernel kernel, string domain = "") => _kernels.Add((Node.NormaliseDomain(domain), opType), kernel);

    /// <summary>Adds a kernel with one output.</summary>
    /// <exception cref="ArgumentException">The operator has a kernel already.</exception>
    public void Add(string opType, Func<KernelContext, ReferenceTensor> kernel, string domain = "") => AddMany(opType, c => [kernel(c)], domain);

    /// <summary>Whether an operator has a kernel.</summary>
    public bool Contains(string opType, string domain = "") => _kernels.ContainsKey((Node.NormaliseDomain(domain), opType));

    /// <summary>Finds the kernel of a node's operator.</summary>
    public bool TryGet(Node node, [NotNullWhen(true)] out ReferenceKernel? kernel) => _kernels.TryGetValue((node.Domain, node.OpType), out kernel);
}
