using System.Collections.Immutable;
using System.Text;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.TestKit;

/// <summary>Runs models with ONNX Runtime on the CPU, from tensors of the IR to tensors of the IR.</summary>
public static class OrtRunner
{
    /// <summary>Runs a model.</summary>
    /// <param name="model">The model; written to memory, external data included.</param>
    /// <param name="feeds">Tensors by input name.</param>
    /// <param name="level">How far the runtime may rewrite the graph.</param>
    /// <returns>The graph outputs by name.</returns>
    public static IReadOnlyDictionary<string, ITensor> Run(
        OnnxModel model, IReadOnlyDictionary<string, ITensor> feeds, GraphOptimizationLevel level = GraphOptimizationLevel.ORT_ENABLE_ALL)
    {
        using InferenceSession session = Open(model, level);
        return Run(session, feeds);
    }

    /// <summary>
    /// Opens a session. Weights behind DequantizeLinear are multiplied in full precision; by default the runtime rounds
    /// activations to int8 there.
    /// </summary>
    /// <param name="model">The model; written to memory, external data included.</param>
    /// <param name="level">How far the runtime may rewrite the graph.</param>
    /// <param name="threads">Threads within an operator.</param>
    public static InferenceSession Open(
        OnnxModel model, GraphOptimizationLevel level = GraphOptimizationLevel.ORT_ENABLE_ALL, int threads = 1)
    {
        using SessionOptions options = new() { GraphOptimizationLevel = level, IntraOpNumThreads = threads, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        options.AddSessionConfigEntry("session.qdq_matmulnbits_accuracy_level", "1");
        return new InferenceSession(OnnxModelWriter.ToBytes(model), options);
    }

    /// <summary>Runs a session.</summary>
    /// <param name="session">The session.</param>
    /// <param name="feeds">Tensors by input name.</param>
    /// <param name="configure">Sets options of the run.</param>
    public static IReadOnlyDictionary<string, ITensor> Run(
        InferenceSession session, IReadOnlyDictionary<string, ITensor> feeds, Action<RunOptions>? configure = null)
    {
        Dictionary<string, OrtValue> inputs = [];
        try
        {
            foreach ((string name, ITensor tensor) in feeds)
            {
                inputs[name] = ToOrtValue(tensor);
            }

            using RunOptions options = new();
            configure?.Invoke(options);
            using IDisposableReadOnlyCollection<OrtValue> outputs = session.Run(options, inputs, session.OutputNames);
            return session.OutputNames.Zip(outputs).ToDictionary(p => p.First, p => FromOrtValue(p.Second));
        }
        finally
        {
            foreach (OrtValue value in inputs.Values)
            {
                value.Dispose();
            }
        }
    }

    private static OrtValue ToOrtValue(ITensor tensor)
    {
        long[] dims = [.. tensor.Dims];
        if (tensor is StringTensor strings)
        {
            string[] values = [.. strings.Values.Select(v => Encoding.UTF8.GetString(v.Span))];
            return OrtValue.CreateFromStringTensor(new DenseTensor<string>(values, [.. dims.Select(d => (int)d)]));
        }

        OrtValue value = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, (TensorElementType)tensor.ElementType, dims);
        if (tensor.ByteLength > 0)
        {
            tensor.Read(0, value.GetTensorMutableRawData());
        }

        return value;
    }

    private static ITensor FromOrtValue(OrtValue value)
    {
        OrtTensorTypeAndShapeInfo info = value.GetTensorTypeAndShape();
        ImmutableArray<long> dims = [.. info.Shape];
        return info.ElementDataType == TensorElementType.String
            ? new StringTensor(dims, [.. value.GetStringTensorAsArray().Select(s => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(s))])
            : new DenseTensor((DataType)info.ElementDataType, dims, info.ElementCount == 0 ? default : value.GetTensorMutableRawData().ToArray());
    }
}
