using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears.Naming;
using OrtQLoRA.Graph.Linears.Patterns;

namespace OrtQLoRA.Graph.Linears;

/// <summary>
/// Finds every place of a model where a constant weight is applied: linear layers, embeddings and convolutions, and
/// names each as PyTorch names its module.
/// </summary>
public static class LinearFinder
{
    // One entry for each form that a layer takes.
    private static readonly Func<Node, LinearSite?>[] Patterns =
        [ProductPattern.Match, EmbeddingPattern.Match, ConvolutionPattern.Match, BlockQuantizedPattern.Match, BlockQuantizedEmbeddingPattern.Match, IntegerProductPattern.Match];

    // Operators that hold several layers.
    private static readonly Func<Node, IEnumerable<LinearSite>>[] FusedPatterns = [FusedQkvPattern.Match, FusedEmbeddingPattern.Match];

    /// <summary>Searches the main graph and its subgraphs. The model is not changed.</summary>
    public static LinearSites Find(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        List<LinearSite> sites = [];
        foreach (Node node in model.Graph.AllNodes())
        {
            IEnumerable<LinearSite> found = Patterns.Select(p => p(node)).FirstOrDefault(s => s is not null) is { } single
                ? [single]
                : FusedPatterns.SelectMany(p => p(node));
            sites.AddRange(found.Where(s => !InitializerNames.IsBuffer(s.Weight.Name)));
        }

        ModuleNaming.Apply(model, sites);
        OutputHeadFinder.Mark(model.Graph, sites);
        return new LinearSites(model, sites);
    }
}
