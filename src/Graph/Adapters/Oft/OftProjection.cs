using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Adapters.Oft;

/// <summary>
/// Constrained OFT: PEFT projects the stored parameters before each forward pass, in place, so that the optimizer continues from
/// the projected ones.
/// </summary>
internal sealed class OftProjection : IAdapterTrainingHook
{
    private readonly IReadOnlyList<OftLayer> _layers;
    private readonly double _epsilon;

    public OftProjection(IReadOnlyList<OftLayer> layers, double epsilon)
    {
        _layers = layers;
        _epsilon = epsilon;
    }

    public void BeforeStep(IAdapterParameters parameters)
    {
        foreach (OftLayer layer in _layers)
        {
            DenseTensor tensor = parameters.Value(layer.Rotation.Name);
            float[] values = [.. tensor.ToFloats()];
            Project(values, (int)layer.Rotation.Dims[0], _epsilon);
            parameters.SetValue(layer.Rotation.Name, DenseTensor.Of(tensor.Dims, values));
        }
    }

    public void AfterStep(long step, long totalSteps, IAdapterParameters parameters)
    {
    }

    public IReadOnlyDictionary<string, ITensor> SaveState() => new Dictionary<string, ITensor>();

    public void LoadState(IReadOnlyDictionary<string, ITensor> state)
    {
    }

    /// <summary>Scales each block whose skew matrix has a Frobenius norm above <c>eps / sqrt(blocks)</c> down to it.</summary>
    public static void Project(float[] values, int blocks, double epsilon)
    {
        double limit = epsilon / Math.Sqrt(blocks);
        int length = values.Length / blocks;
        for (int block = 0; block < blocks; block++)
        {
            Span<float> triangle = values.AsSpan(block * length, length);
            double sum = 0;
            foreach (float value in triangle)
            {
                // Each element stands twice in the skew matrix.
                sum += 2.0 * value * value;
            }

            double norm = Math.Sqrt(sum);
            if (norm > limit)
            {
                for (int i = 0; i < length; i++)
                {
                    triangle[i] = (float)(triangle[i] * (limit / norm));
                }
            }
        }
    }
}
