using OrtQLoRA.Graph.Training.OrtTraining;

namespace OrtQLoRA.Trainer.Engines.OrtTraining;

/// <summary>A temporary folder for the files that the training session reads: it takes paths only.</summary>
internal sealed class OrtTrainingWorkspace : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("ortqlora-training-");

    /// <summary>Where the files are.</summary>
    internal OrtArtifactFiles Files => new(_folder.FullName);

    /// <summary>Path of a further file.</summary>
    internal string File(string name) => Path.Combine(_folder.FullName, name);

    public void Dispose() => _folder.Delete(recursive: true);
}
