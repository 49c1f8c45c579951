using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes.OpsetUpgrade;

namespace OrtQLoRA.Graph.Passes;

/// <summary>
/// Rewrites a model of opset 7 to 20 to the same function in opset 21, so that later passes see one form of each
/// operator: axes, split sizes, pads, slice bounds, clip bounds and dropout ratios as inputs; softmax over one axis.
/// Models of opset 21 and later stay as they are, as do operators of other domains.
/// </summary>
/// <remarks>
/// Shape inference beforehand makes shorter graphs: an old Softmax over what is known to be the last axis needs no
/// reshaping. Functions are upgraded too; inline them first where their attributes come from callers.
/// </remarks>
public sealed class OpsetUpgradePass : GraphPass
{
    /// <summary>The version that models are brought to.</summary>
    public const long Target = OpsetUpgrader.Target;

    /// <inheritdoc/>
    /// <exception cref="UnsupportedOpException">The model is older than opset 7, or an operator has no equal in opset 21; the message names it.</exception>
    public override bool Run(OnnxModel model)
    {
        bool changed = false;
        if (model.Opset < Target)
        {
            OpsetUpgrader.Upgrade([.. model.Graph.AllNodes()], model.Opset, Target);
            OpsetUpgrader.Declare(model, Target);
            changed = true;
        }

        foreach (OnnxFunction function in model.Functions)
        {
            if (function.OpsetImports.TryGetValue("", out long version) && version < Target)
            {
                OpsetUpgrader.Upgrade([.. function.Body.AllNodes()], version, Target);
                MakeConstantNodes(function.Body);
                function.OpsetImports[""] = Target;
                changed = true;
            }
        }

        return changed;
    }

    // The body of a function can hold no initializers.
    private static void MakeConstantNodes(OnnxGraph body)
    {
        foreach (Value initializer in body.Initializers.ToArray())
        {
            Node node = body.AddNode("Constant", [], before: body.First);
            node.SetAttribute("value", NodeAttribute.Of(initializer.Initializer!));
            Value made = node.AddOutput(body.Names.Reserve(initializer.Name), initializer.Type);
            initializer.ReplaceAllUsesWith(made);
            body.RemoveInitializer(initializer);
        }
    }
}
