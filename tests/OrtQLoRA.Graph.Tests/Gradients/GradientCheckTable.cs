using OrtQLoRA.TestKit.Gradients;

namespace OrtQLoRA.Graph.Tests.Gradients;

/// <summary>
/// What the gradient checks run: for every rule at least one row; shapes with 1, odd sizes, broadcasts, repeated inputs and
/// empty tensors. Inputs lie off the kinks; what happens on them is tested by <see cref="GradientAtKinksTests"/>.
/// </summary>
internal static partial class GradientCheckTable
{
    /// <summary>All rows.</summary>
    public static IReadOnlyList<GradientRow> Rows { get; } =
    [
        .. Elementwise(), .. Activations(), .. Selections(), .. Shapes(), .. Slices(), .. Indexing(), .. Reductions(), .. MatrixProducts(),
        .. Softmaxes(), .. Normalizations(), .. Convolutions(), .. Recurrent(), .. Resizing(), .. Losses(),
    ];
}
