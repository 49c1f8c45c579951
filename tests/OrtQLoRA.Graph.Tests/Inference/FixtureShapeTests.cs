using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using OrtQLoRA.Graph.Inference;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Inference;

[TestClass]
public sealed class FixtureShapeTests
{
    public TestContext TestContext { get; set; } = null!;

    public static IEnumerable<object[]> Models => Fixtures.Files(".onnx", "exports").Select(f => new object[] { f });

    [TestMethod]
    [DynamicData(nameof(Models))]
    public void Run_ExportedModel_TypesAndShapesAreThoseOfOnnxRuntime(string path)
    {
        using OnnxModel model = OnnxModelReader.Read(Fixtures.Require(path));
        string folder = Path.GetDirectoryName(Fixtures.Require(path))!;
        new ShapeInferencePass().Run(model);
        foreach (string prefix in new[] { "case0.", "case1." })
        {
            Dictionary<string, ITensor> feeds = ReadInputs(Path.Combine(folder, "data.safetensors"), prefix);
            if (feeds.Count == 0 || !model.Graph.RequiredInputs.All(i => feeds.ContainsKey(i.Name)))
            {
                TestContext.WriteLine($"{path} {prefix} no data");
                continue;
            }
            Compare(path + " " + prefix, model, feeds);
        }
    }

    private void Compare(string name, OnnxModel model, Dictionary<string, ITensor> feeds)
    {
        Value[] values = [.. model.Graph.Nodes.SelectMany(n => n.Outputs).Where(o => o.Name.Length > 0)];
        foreach (Value value in values.Where(v => !v.IsGraphOutput))
        {
            model.Graph.AddOutput(value);
        }
        Dictionary<string, long?> symbols = [];
        foreach (Value input in model.Graph.Inputs.Where(i => feeds.ContainsKey(i.Name)))
        {
            for (int axis = 0; axis < input.Shape!.Rank; axis++)
            {
                if (input.Shape[axis].Symbol is string s) symbols.TryAdd(s, feeds[input.Name].Dims[axis]);
            }
        }
        IReadOnlyDictionary<string, ITensor> actual = OrtRunner.Run(model, feeds, GraphOptimizationLevel.ORT_DISABLE_ALL);
        int ranked = 0, full = 0; List<string> open = []; List<string> wrong = [];
        foreach (Value value in values)
        {
            ITensor tensor = actual[value.Name];
            if (value.ElementType != tensor.ElementType) wrong.Add($"{value} by {value.Producer}: type {tensor.ElementType}");
            if (value.Shape is not Shape shape) { open.Add($"{value} by {value.Producer}"); continue; }
            ranked++;
            bool all = true, ok = shape.Rank == tensor.Dims.Length;
            for (int axis = 0; ok && axis < shape.Rank; axis++)
            {
                long? n = SymbolicExpression.From(shape[axis])?.Evaluate(symbols.GetValueOrDefault);
                all &= n is not null;
                ok &= n is null || n == tensor.Dims[axis];
            }
            if (!ok) wrong.Add($"{value} by {value.Producer}: actual [{string.Join(", ", tensor.Dims)}]");
            if (all) full++; else open.Add($"{value} by {value.Producer}");
        }
        TestContext.WriteLine($"SUMMARY {name}: {values.Length} values, {ranked} ranked, {full} full, {wrong.Count} wrong");
        foreach (string o in values.Where(v => v.ElementType.IsFloatingPoint() && v.Shape is not null).SelectMany(v => v.Shape!).Where(d => d.Symbol is string t && (t.Contains('(', StringComparison.Ordinal) || t.Contains('#', StringComparison.Ordinal))).GroupBy(d => d.Symbol!).Select(g => g.Key + " x" + g.Count())) TestContext.WriteLine("  DIM " + o);
        foreach (string o in open.Take(12)) TestContext.WriteLine("  open " + o);
        foreach (string o in wrong.Take(12)) TestContext.WriteLine("  WRONG " + o);
        Assert.IsEmpty(wrong);
    }

    private static Dictionary<string, ITensor> ReadInputs(string file, string prefix)
    {
        Dictionary<string, ITensor> r = [];
        if (!File.Exists(file)) return r;
        byte[] bytes = File.ReadAllBytes(file);
        int n = (int)BitConverter.ToInt64(bytes);
        using JsonDocument doc = JsonDocument.Parse(bytes.AsMemory(8, n));
        foreach (JsonProperty p in doc.RootElement.EnumerateObject())
        {
            if (!p.Name.StartsWith(prefix + "input.", StringComparison.Ordinal)) continue;
            long[] dims = [.. p.Value.GetProperty("shape").EnumerateArray().Select(e => e.GetInt64())];
            int[] off = [.. p.Value.GetProperty("data_offsets").EnumerateArray().Select(e => e.GetInt32())];
            DataType t = p.Value.GetProperty("dtype").GetString() switch { "I64" => DataType.Int64, "I32" => DataType.Int32, "F32" => DataType.Float, "F16" => DataType.Float16, "BOOL" => DataType.Bool, var x => throw new NotSupportedException(x) };
            r[p.Name[(prefix.Length + 6)..]] = new DenseTensor(t, dims, bytes.AsMemory(8 + n + off[0], off[1] - off[0]));
        }
        return r;
    }
}
