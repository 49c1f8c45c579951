using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Export;

/// <summary>Stores the weights of a model in another floating-point type.</summary>
/// <remarks>
/// Narrower: the named weights are stored in fp16 or bf16, each behind one Cast to the type that its readers compute in, so
/// that every operator and every runtime keeps working; runtimes fold the Cast when they load. Wider: everything that is
/// fp16 or bf16 becomes fp32, inputs and outputs included, since a wider weight alone would change nothing.
/// </remarks>
internal static class WeightPrecision
{
    /// <summary>Changes a model in place.</summary>
    /// <param name="model">The model.</param>
    /// <param name="type">Float, Float16 or BFloat16.</param>
    /// <param name="except">Names of initializers that keep their type when others get a narrower one.</param>
    /// <exception cref="ConfigurationException">A function of the model computes in fp16 and cannot be widened.</exception>
    public static void Apply(OnnxModel model, DataType type, IReadOnlySet<string> except)
    {
        if (type == DataType.Float)
        {
            PrecisionWidening.Apply(model);
            return;
        }

        foreach (Value value in LinearFinder.Find(model).Parameters.Select(p => p.Value).Distinct().ToArray())
        {
            if (!except.Contains(value.Name) && value.Initializer is { } content && content.ElementType is DataType.Float or DataType.Double && content.ElementCount() > 1)
            {
                Narrow(model, value, content, type);
            }
        }
    }

    private static void Narrow(OnnxModel model, Value value, ITensor content, DataType type)
    {
        DataType computed = content.ElementType;
        bool isInput = value.IsGraphInput;
        model.Graph.SetInitializer(value, new NarrowedTensor(value.Name, content, type));
        if (isInput)
        {
            value.Type = content.ToOnnxType() is OnnxType.Tensor tensor ? tensor with { ElementType = type } : value.Type;
        }

        Node cast = model.Graph.AddNode("Cast", [value], model.Graph.NodeNames.Reserve(value.Name + "/Cast"), before: model.Graph.First);
        cast.SetAttribute("to", (long)computed);
        Value widened = cast.AddOutput(model.Graph.Names.Reserve(value.Name + "_cast"), content.ToOnnxType());
        value.ReplaceAllUsesWith(widened, except: new HashSet<Node> { cast });
    }
}
