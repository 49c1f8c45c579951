using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>
/// y = transposed convolution of x with W + bias, the linear map whose transpose is conv(., W): dx = conv(dy, W), dW as of a
/// convolution from y to x, dbias = sum of dy over all but the channels.
/// </summary>
internal static class ConvTransposeGradient
{
    public static IReadOnlyList<Value?> Build(GradientContext c)
    {
        if (c.Node.GetString("auto_pad", "NOTSET") is not ("NOTSET" or "VALID") || c.Node.Attributes.ContainsKey("output_shape"))
        {
            throw c.Unsupported("its padding is given as auto_pad or output_shape", "Write the padding as the pads and output_padding attributes.");
        }

        GraphBuilder b = c.Builder;
        Value x = c.Input(0);
        Value weight = c.Input(1);
        Value dy = c.OutputGradient;
        long group = c.Node.GetInt("group", 1);
        WindowGeometry geometry = WindowGeometry.Of(c, c.Output(0), WindowGeometry.KernelOf(c, weight));
        return c.ForEachNeeded(i => i switch
        {
            0 => Convolve(),
            1 => ConvGradient.WeightGradient(c, dy, x, weight, group, geometry),
            _ => ConvGradient.BiasGradient(c, dy),
        });

        Value Convolve()
        {
            Value dx = b.Op(
                "Conv", [dy, weight],
                ("group", group), ("kernel_shape", geometry.Kernel), ("strides", geometry.Strides), ("dilations", geometry.Dilations), ("pads", geometry.Pads));
            dx.Type = x.Type;
            return dx;
        }
    }
}
