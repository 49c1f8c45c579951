using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Inputs of layers over the first training examples, one example at a time and without padding.</summary>
internal sealed class LayerStatistics : ILayerStatistics
{
    /// <summary>Examples that are looked at: covariances of some thousand positions change little after.</summary>
    private const int MostExamples = 64;

    private readonly Dictionary<string, string> _valueOf;
    private readonly Dictionary<string, List<Matrix>> _all;
    private readonly Dictionary<string, List<Matrix>> _counted;
    private readonly int _positionsOfExample;

    private LayerStatistics(Dictionary<string, string> valueOf, int positionsOfExample)
    {
        _valueOf = valueOf;
        _all = valueOf.Values.Distinct().ToDictionary(v => v, _ => new List<Matrix>(), StringComparer.Ordinal);
        _counted = _all.Keys.ToDictionary(v => v, _ => new List<Matrix>(), StringComparer.Ordinal);
        _positionsOfExample = positionsOfExample;
    }

    /// <inheritdoc/>
    public IReadOnlyList<Matrix> Inputs(string modulePath, bool countedOnly) =>
        _valueOf.TryGetValue(modulePath, out string? value) && (countedOnly ? _counted : _all)[value] is { Count: > 0 } found
            ? found
            : throw new ConfigurationException($"The inputs of module '{modulePath}' were not recorded, or no position of the data counts.");

    /// <summary>Runs the base model and records.</summary>
    /// <param name="model">The base model; not changed.</param>
    /// <param name="modules">Paths of the layers to observe.</param>
    /// <param name="examples">Training examples.</param>
    /// <param name="collator">Fills the model's inputs from one example.</param>
    /// <param name="mostPositions">Positions to keep of each layer, spread evenly over the examples; all by default.</param>
    internal static LayerStatistics Collect(
        OnnxModel model, IReadOnlyList<string> modules, IReadOnlyList<TrainingExample> examples, DataCollator collator, int mostPositions = int.MaxValue)
    {
        OnnxModel work = ModelCloner.Clone(model);
        NormalisationPipeline.ForTraining().Run(work);
        LinearSites sites = LinearFinder.Find(work);

        // Layers that read one value (queries, keys, values) share what is recorded of it.
        Dictionary<Value, string> outputs = [];
        Dictionary<string, string> valueOf = new(StringComparer.Ordinal);
        foreach (string path in modules)
        {
            LinearSite site = sites.Find(path)!.Sites[0];
            if (site.IsWeightLeft)
            {
                throw new ConfigurationException($"Module '{path}' multiplies from the left (W x); initializations that look at data do not serve it. Exclude it or choose another init_lora_weights.");
            }

            if (!outputs.TryGetValue(site.Input, out string? output))
            {
                GraphBuilder builder = new(work.Graph, work.Opset, site.Node) { Scope = path + "/observed/" };
                Value observed = builder.Cast(builder.Op("Identity", [site.Input]), DataType.Float);
                work.Graph.AddOutput(observed);
                outputs[site.Input] = output = observed.Name;
            }

            valueOf[path] = output;
        }

        LayerStatistics statistics = new(valueOf, Math.Max(1, mostPositions / Math.Clamp(examples.Count, 1, MostExamples)));
        using GraphRunner runner = new(work);
        foreach (TrainingExample example in examples.Take(MostExamples))
        {
            Batch batch = collator.Collate([example]);
            IReadOnlyDictionary<string, DenseTensor> results = runner.Run(batch.Inputs, [.. outputs.Values]);
            foreach (string output in outputs.Values)
            {
                statistics.Add(output, results[output], example);
            }
        }

        return statistics;
    }

    private void Add(string value, DenseTensor input, TrainingExample example)
    {
        int width = (int)input.Dims[^1];
        float[] values = input.ToFloats();
        int rows = values.Length / width;

        // Layers behind a pooler have one row for the whole example.
        int tokens = example.InputIds.Length;
        bool isByToken = tokens > 0 && rows >= tokens;
        int[] attended = [.. Enumerable.Range(0, isByToken ? tokens : rows).Where(i => !isByToken || example.AttentionMask is null || example.AttentionMask[i] != 0)];
        int[] counted = [.. attended.Where(i => !isByToken || example.Labels is null || example.Labels[i] != TrainingExample.IgnoreIndex)];
        Append(_all[value], attended);
        Append(_counted[value], counted);

        void Append(List<Matrix> batches, int[] positions)
        {
            int kept = Math.Min(positions.Length, _positionsOfExample);
            int[] chosen = [.. Enumerable.Range(0, kept).Select(i => positions[(int)((long)i * positions.Length / kept)])];
            if (chosen.Length > 0)
            {
                Matrix matrix = new(chosen.Length, width);
                for (int i = 0; i < chosen.Length; i++)
                {
                    values.AsSpan(chosen[i] * width, width).CopyTo(matrix.Row(i));
                }

                batches.Add(matrix);
            }
        }
    }
}
