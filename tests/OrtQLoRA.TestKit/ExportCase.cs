using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;

namespace OrtQLoRA.TestKit;

/// <summary>One exported model of the fixtures with its recorded inputs and outputs.</summary>
public sealed class ExportCase : IDisposable
{
    private readonly string _modelPath;
    private readonly SafetensorsFile? _data;

    private ExportCase(string modelPath, SafetensorsFile? data)
    {
        _modelPath = modelPath;
        _data = data;
    }

    /// <summary>Paths of all exported models below the fixtures folder, for <c>DynamicData</c>.</summary>
    public static IEnumerable<object[]> Models => Fixtures.Files(".onnx", "exports").Select(path => new object[] { path });

    /// <summary>Opens a case by the path of its model; the test is skipped where it is absent.</summary>
    public static ExportCase Open(string relativePath)
    {
        string path = Fixtures.Require(relativePath);
        string data = Path.Combine(Path.GetDirectoryName(path)!, "data.safetensors");
        return new ExportCase(path, File.Exists(data) ? SafetensorsFile.Open(data) : null);
    }

    /// <summary>Reads the model anew.</summary>
    public OnnxModel ReadModel() => OnnxModelReader.Read(_modelPath);

    /// <summary>
    /// Recorded inputs of <c>case0</c> and <c>case1</c> that feed all required inputs of a model, floats in the type
    /// that the model asks for; empty if there are none.
    /// </summary>
    public IEnumerable<IReadOnlyDictionary<string, ITensor>> Feeds(OnnxModel model)
    {
        foreach (string prefix in new[] { "case0.input.", "case1.input." })
        {
            Dictionary<string, ITensor> feeds = [];
            foreach (Value input in model.Graph.Inputs)
            {
                if (_data?.Tensors.TryGetValue(prefix + input.Name, out ITensor? tensor) == true)
                {
                    feeds[input.Name] = InType(tensor, input.ElementType);
                }
            }

            if (model.Graph.RequiredInputs.All(i => feeds.ContainsKey(i.Name)))
            {
                yield return feeds;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _data?.Dispose();

    private static ITensor InType(ITensor tensor, DataType type) => tensor.ElementType == DataType.Float && type == DataType.Float16
        ? DenseTensor.Of(tensor.Dims, Array.ConvertAll(tensor.ToFloats(), f => (Half)f))
        : tensor;
}
