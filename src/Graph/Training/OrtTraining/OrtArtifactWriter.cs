using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

namespace OrtQLoRA.Graph.Training.OrtTraining;

/// <summary>Writes artifacts of the dialect <c>ort-training</c> into a folder.</summary>
public static class OrtArtifactWriter
{
    /// <summary>Weights above this many bytes go into a file beside the model; one message ends at 2 GB.</summary>
    private const long OneFileLimit = 1_800_000_000;

    /// <summary>Writes the four files.</summary>
    /// <param name="artifacts">Artifacts made with <see cref="OrtTrainingDialect"/>.</param>
    /// <param name="folder">The folder, made if it is not there. Files of the same names are replaced.</param>
    /// <param name="initialLearningRate">Rate from which the runtime's own linear scheduler starts; null leaves it to the runtime.</param>
    /// <param name="checkpointVersion">Version of the checkpoint: see <see cref="OrtCheckpoint.Version"/>.</param>
    /// <returns>Where the files are.</returns>
    /// <exception cref="ConfigurationException">A model is too large for one file.</exception>
    /// <exception cref="FileWriteException">A file cannot be written.</exception>
    public static OrtArtifactFiles Write(
        TrainingArtifacts artifacts, string folder, double? initialLearningRate = null, int checkpointVersion = OrtCheckpoint.CurrentVersion)
    {
        ArgumentNullException.ThrowIfNull(artifacts);
        CreateFolder(folder);
        OrtArtifactFiles files = new(folder);
        Write(artifacts.TrainingModel, files.TrainingModel);
        Write(artifacts.EvalModel, files.EvalModel);
        Write(artifacts.OptimizerModel, files.OptimizerModel);
        using OrtCheckpoint checkpoint = Checkpoint(artifacts, initialLearningRate, checkpointVersion);
        OrtCheckpointWriter.Write(files.Checkpoint, checkpoint);
        return files;
    }

    /// <summary>Writes one model, with its weights beside it if it is large.</summary>
    /// <exception cref="FileWriteException">The file cannot be written.</exception>
    public static void Write(OnnxModel model, string path)
    {
        long bytes = model.Graph.Initializers.Sum(i => i.Initializer!.ByteLength);
        OnnxModelWriter.Write(model, path, bytes > OneFileLimit ? new ExternalDataOptions() : null);
    }

    /// <summary>The first checkpoint: initial values, no state of the optimizer.</summary>
    public static OrtCheckpoint Checkpoint(TrainingArtifacts artifacts, double? initialLearningRate = null, int version = OrtCheckpoint.CurrentVersion) => new()
    {
        Version = version,
        Trainable = [.. artifacts.Parameters.Select(p => CheckpointParameter.Of(p.Name, p.InitialValue))],
        Frozen = [.. artifacts.FrozenParameters.Select(p => CheckpointParameter.Of(p.Name, p.Value))],
        OptimizerGroups = initialLearningRate is double rate
            ? [new OptimizerGroupState(ParameterGroup.DefaultName, 0, (float)rate, new Dictionary<string, IReadOnlyDictionary<string, ITensor>>())]
            : [],
    };

    private static void CreateFolder(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FileWriteException($"The folder '{folder}' cannot be made: {e.Message} Name another.", e);
        }
    }
}
