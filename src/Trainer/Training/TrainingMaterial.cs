using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Checkpoints;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Model, data and engine of a run, read and made ready.</summary>
internal sealed class TrainingMaterial : IDisposable
{
    private TrainingMaterial(OnnxModel model, TrainingSetup setup, DataSetup data, IReadOnlyList<TrainingExample> examples, IReadOnlyList<TrainingExample>? evalExamples)
    {
        Model = model;
        Setup = setup;
        Data = data;
        Examples = examples;
        EvalExamples = evalExamples;
        Collator = data.CreateCollator(setup.BatchInputs, setup.Task);
    }

    internal OnnxModel Model { get; }

    internal TrainingSetup Setup { get; }

    internal DataSetup Data { get; }

    internal IReadOnlyList<TrainingExample> Examples { get; }

    /// <summary>Null without eval data.</summary>
    internal IReadOnlyList<TrainingExample>? EvalExamples { get; }

    internal DataCollator Collator { get; }

    /// <summary>Reads and builds everything.</summary>
    /// <param name="options">The options.</param>
    /// <param name="resumed">The checkpoint that model, data and options must fit; null for none.</param>
    /// <param name="callback">Is told the stages.</param>
    internal static TrainingMaterial Read(TrainingOptions options, Checkpoint? resumed, ITrainingCallback callback)
    {
        callback.OnStage($"Reading {options.Model}");
        OnnxModel model = BaseModel.Read(options.Model, options.BaseWeights);
        AdapterSettings? settings = null;
        DataSetup? data = null;
        try
        {
            settings = AdapterSettings.Create(options);
            ModelFacts facts = ModelFacts.Read(model, options.LossOutput);
            data = new DataSetup(facts, settings.Task, options, callback.OnWarning);
            if (resumed is not null)
            {
                JsonObject config = JsonNode.Parse(TrainingOptionsFile.ToJson(options, settings.Task))!.AsObject();
                ResumeCheck.Verify(resumed, options, config, RunInputs.Read(options, model), callback.OnWarning);
            }

            (IReadOnlyList<TrainingExample> examples, IReadOnlyList<TrainingExample>? evalExamples) = data.ReadAll();
            settings.Observe(model, examples, data.CreateCollator(facts.Inputs, settings.Task), callback);
            return new TrainingMaterial(model, TrainingSetup.Create(model, facts, settings, options, callback), data, examples, evalExamples);
        }
        catch
        {
            data?.Dispose();
            settings?.Dispose();
            model.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Setup.Dispose();
        Data.Dispose();
        Model.Dispose();
    }
}
