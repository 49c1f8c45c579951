using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Inference.Rules;

/// <summary>Fourier transforms.</summary>
internal static class SpectralRules
{
    private const long FirstOpsetWithAxisInput = 20;

    internal static void Register(OperatorRegistry registry) => registry.Add(Dft, "DFT");

    // [.., n, .., 1 or 2] to [.., length, .., 2]; one-sided to floor(length / 2) + 1.
    private static void Dft(OperatorCall call)
    {
        if (!call.TryGetShape(0, out Shape? shape))
        {
            call.Set(0, call.TypeOf(0), null);
            return;
        }

        Dimension[] dims = [.. shape];
        dims[^1] = 2;
        long? axis = call.Opset < FirstOpsetWithAxisInput ? call.Node.GetInt("axis", 1) : call.HasInput(2) ? call.NumbersOf(2)?[0] : -2;
        if (axis is not { } stated)
        {
            call.Set(0, call.TypeOf(0), new Shape(dims.Select((d, i) => i == dims.Length - 1 ? d : Dimension.Unknown)));
            return;
        }

        int at = call.Axis(stated, dims.Length);
        Dimension length = !call.HasInput(1) ? dims[at] : call.NumbersOf(1) is [var number] ? number : Dimension.Unknown;
        dims[at] = call.Node.GetInt("onesided", 0) == 0 ? length : length.Value is { } known ? (known / 2) + 1 : Dimension.Unknown;
        call.Set(0, call.TypeOf(0), new Shape(dims));
    }
}
