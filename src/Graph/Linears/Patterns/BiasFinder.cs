using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears.Naming;

namespace OrtQLoRA.Graph.Linears.Patterns;

/// <summary>Finds the bias that an Add puts onto a product, directly or behind a Reshape.</summary>
internal static class BiasFinder
{
    /// <summary>The constant vector [out] behind a value, or null if it is anything else.</summary>
    public static WeightTrace? Vector(Value? value, long length) =>
        WeightTrace.Of(value) is { IsFloat: true, IsDequantized: false } trace
        && trace.Content.Dims is [.., long last]
        && last == length
        && trace.Content.Dims.SkipLast(1).All(d => d == 1)
            ? trace
            : null;

    /// <summary>Gives the site its bias, if the product goes nowhere but into an Add with a constant vector.</summary>
    public static void AttachFollowingBias(LinearSite site)
    {
        Value product = site.Product;
        if (SoleReader(product) is { } reshape && reshape.Is("Reshape") && reshape.InputOrNull(0) == product && KeepsLastAxis(reshape, site.OutFeatures))
        {
            product = reshape.Outputs[0];
        }

        if (SoleReader(product) is { } add && add.Is("Add") && add.Inputs[0] != add.Inputs[1])
        {
            Value? other = add.Inputs[0] == product ? add.Inputs[1] : add.Inputs[0];
            if (Vector(other, site.OutFeatures) is { } bias && IsOfSameModule(site.Node, add, bias.Root))
            {
                (site.Bias, site.BiasNode, site.BiasSlice) = (bias.Root, add, bias.Slice);
            }
        }
    }

    private static Node? SoleReader(Value value) => value is { IsGraphOutput: false, Uses: [Use use] } ? use.Node : null;

    private static bool KeepsLastAxis(Node reshape, long length) =>
        reshape.Outputs[0].Shape is { Rank: > 0 } shape && shape[-1].Value is { } known
            ? known == length
            : ConstantContent.DefaultOf(reshape.InputOrNull(1)) is { ElementType: DataType.Int64 } target && target.ToInt64s() is [.., long last] && last == length;

    // A learned vector that another module adds right after the product is no bias of this one.
    private static bool IsOfSameModule(Node product, Node add, Value bias)
    {
        if (!InitializerNames.IsAnonymous(bias.Name) && InitializerNames.EndsAsBias(bias.Name))
        {
            return true;
        }

        return NodeScopes.Of(product)?.Path is not { } a || NodeScopes.Of(add)?.Path is not { } b || a == b;
    }
}
