using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Adapters;

/// <summary>The weight of a module as a matrix, in whatever form the graph holds it.</summary>
internal static class BaseWeight
{
    /// <summary>[out, in] for a linear layer, [vocabulary, dim] for an embedding; Gemm's factor included.</summary>
    /// <exception cref="ConfigurationException">The weight is held in a form that cannot be read here.</exception>
    public static Matrix Read(LinearModule module)
    {
        LinearSite site = module.Sites[0];
        if (site.Content.Dims.Length != 2 || site.Storage == WeightStorage.MatMulNBits)
        {
            throw new ConfigurationException(
                $"Module '{module.Path}' holds its weight '{site.Weight.Name}' as {site.Storage} [{string.Join(", ", site.Content.Dims)}]; this method needs a matrix that it can read. Leave the module out with exclude_modules, or start from a float model.");
        }

        Matrix stored = site.Storage == WeightStorage.Dense ? Matrix.Of(site.Content) : Dequantize(site);
        if (site.WeightFactor != 1)
        {
            stored.Scale(site.WeightFactor);
        }

        // An embedding's initializer is [vocabulary, dim] unless it is laid out the other way round.
        bool isTurned = site.Kind == LinearKind.Embedding ? site.IsOutByIn : !site.IsOutByIn;
        return isTurned ? stored.Transpose() : stored;
    }

    private static Matrix Dequantize(LinearSite site)
    {
        Node node = site.WeightChain.First(n => n.Is("DequantizeLinear"));
        int rows = checked((int)site.Content.Dims[0]);
        int columns = checked((int)site.Content.Dims[1]);
        long[] integers = site.Content.ToInt64s();
        ITensor scale = ConstantContent.DefaultOf(node.Inputs[1])!;
        float[] scales = scale.ToFloats();
        long[]? zeros = ConstantContent.DefaultOf(node.InputOrNull(2))?.ToInt64s();
        long axis = node.GetInt("axis", 1);
        axis = axis < 0 ? axis + 2 : axis;
        int block = (int)Math.Max(1, node.GetInt("block_size", 0));
        bool isBlocked = scale.Dims.Length == 2;
        bool isHalf = scale.ElementType == DataType.Float16 || site.WeightChain.Any(n => n.Is("Cast") && n.GetInt("to", 0) == (long)DataType.Float16);
        Matrix result = new(rows, columns);
        for (int r = 0; r < rows; r++)
        {
            for (int c = 0; c < columns; c++)
            {
                int at = scales.Length == 1 ? 0
                    : !isBlocked ? (axis == 0 ? r : c)
                    : axis == 0 ? (r / block * columns) + c : (r * (int)scale.Dims[1]) + (c / block);
                float value = (integers[(r * columns) + c] - (zeros is null ? 0 : zeros[at])) * scales[at];
                result[r, c] = isHalf ? (float)(Half)value : value;
            }
        }

        return result;
    }
}
