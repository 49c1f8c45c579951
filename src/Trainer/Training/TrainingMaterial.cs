using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Checkpoints;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;
using OrtQLoRA.Trainer.Data.Packing;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Model, data and engine of a run, read and made ready.</summary>
internal sealed class TrainingMaterial : IDisposable
{
    private TrainingMaterial(OnnxModel model, TrainingSetup setup, DataSetup data, IReadOnlyList<TrainingExample> examples, PackedExamples? packed, IReadOnlyList<TrainingExample>? evalExamples)
    {
        Model = model;
        Setup = setup;
        Data = data;
        Examples = packed ?? examples;
        Unpacked = examples;
        EvalExamples = evalExamples;
        Collator = data.CreateCollator(setup.BatchInputs, setup.Task);
    }

    internal OnnxModel Model { get; }

    internal TrainingSetup Setup { get; }

    internal DataSetup Data { get; }

    /// <summary>The rows to train on: examples, or several of them each.</summary>
    internal IReadOnlyList<TrainingExample> Examples { get; }

    /// <summary>The training examples one by one.</summary>
    internal IReadOnlyList<TrainingExample> Unpacked { get; }

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
        TrainingMaterial? material = null;
        try
        {
            settings = AdapterSettings.Create(options);
            if (options.InitAdapter is { } start && settings.Initial?.Config?.UnknownKeysWarning(start) is { } unknown)
            {
                callback.OnWarning(unknown);
            }

            ModelFacts facts = ModelFacts.Read(model, options.LossOutput);
            data = new DataSetup(facts, settings.Task, options, callback.OnWarning);
            if (resumed is not null)
            {
                JsonObject config = JsonNode.Parse(TrainingOptionsFile.ToJson(options, settings.Task))!.AsObject();
                ResumeCheck.Verify(resumed, options, config, RunInputs.Read(options, model), callback.OnWarning);
            }

            (IReadOnlyList<TrainingExample> examples, IReadOnlyList<TrainingExample>? evalExamples) = data.ReadAll();
            settings.Observe(model, examples, data.CreateCollator(facts.Inputs, settings.Task), callback);
            PackedExamples? packed = options.Packing ? data.Pack(examples, settings.Task, callback) : null;
            material = new TrainingMaterial(model, TrainingSetup.Create(model, facts, settings, options, callback), data, examples, packed, evalExamples);
            material.ProbePacking(options);
            return material;
        }
        catch
        {
            if (material is null)
            {
                data?.Dispose();
                settings?.Dispose();
                model.Dispose();
            }

            material?.Dispose();
            throw;
        }
    }

    // Graphs that draw random numbers give another loss at each pass.
    private void ProbePacking(TrainingOptions options)
    {
        if (options.Packing && options.Dropout is null or 0 && options.NeftuneAlpha is null or 0)
        {
            PackingProbe.Verify(Setup.Engine, Collator, Unpacked, PackingProbe.ToleranceOf(options));
        }
    }

    public void Dispose()
    {
        Setup.Dispose();
        Data.Dispose();
        Model.Dispose();
    }
}
