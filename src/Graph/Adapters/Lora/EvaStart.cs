using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>EVA: A holds the directions in which a layer's inputs vary most; B is zero.</summary>
internal static class EvaStart
{
    public static void Run(LoraPlan plan, BasePreparation preparation)
    {
        if (preparation.Statistics is not { } statistics)
        {
            throw new ConfigurationException("init_lora_weights 'eva' looks at the layers' inputs: it needs calibration data (TrainingGraphOptions.Statistics; train takes its own data), or an adapter that was started so.");
        }

        foreach (LoraLayer layer in plan.Layers.Where(l => !l.IsEmbedding))
        {
            InputDirections directions = InputDirections.Of(statistics.Inputs(layer.Module.Path, countedOnly: true), layer.Rank, plan.EvaWhitens);
            preparation.Start(layer.A, directions.Vectors.Values);
            preparation.Start(layer.B, new float[layer.B.ElementCount]);
        }
    }
}
