using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Passes;
using OrtQLoRA.Graph.Training;

namespace OrtQLoRA.Trainer.Inspection;

/// <summary>A model in the form in which training looks at it.</summary>
public static class TrainingForm
{
    /// <summary>The layers of a model, normalised as for training, so that shapes are known and fused operators taken apart.</summary>
    /// <param name="model">The model; not changed. It must outlive the result, which reads its weights.</param>
    public static LinearSites SitesOf(OnnxModel model)
    {
        OnnxModel normalised = ModelCloner.Clone(model);
        NormalisationPipeline.ForTrainingWithoutCache(TrainingGraphBuilder.MayBeTrained).Run(normalised);
        return LinearFinder.Find(normalised);
    }
}
