using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Linears.Naming;

namespace OrtQLoRA.Graph.Adapters.Prompts;

/// <summary>
/// What an embedding's module gives, in front of which PEFT puts prompts. Gemma's module multiplies the rows that it looks up,
/// where it was once the model that multiplied them, prompts included: the exporter's module of the node tells the two apart.
/// </summary>
/// <param name="Value">The module's result.</param>
/// <param name="Factor">What the module multiplies its rows by; 1 for most.</param>
internal readonly record struct EmbeddingResult(Value Value, float Factor)
{
    /// <summary>Finds the result of the module that a site belongs to.</summary>
    public static EmbeddingResult Of(LinearSite site)
    {
        EmbeddingResult result = new(site.Product, 1);
        string? module = NodeScopes.Of(site.Node)?.Path;
        while (module is not null
            && !result.Value.IsGraphOutput
            && result.Value.Uses is [{ Node: var next }]
            && NodeScopes.Of(next)?.Path == module
            && (next.Is("Cast") ? 1 : FactorOf(next)) is { } factor)
        {
            result = new EmbeddingResult(next.Outputs[0], result.Factor * factor);
        }

        return result;
    }

    private static float? FactorOf(Node node) =>
        node.Is("Mul") ? node.Inputs.Select(ConstantContent.DefaultScalar).FirstOrDefault(f => f is not null) : null;
}
