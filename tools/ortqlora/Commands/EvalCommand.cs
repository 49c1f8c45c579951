using System.CommandLine;
using System.Text.Json;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Evaluation;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>eval</c>: loss, perplexity and accuracy of a model, or of a run's merged model, on data.</summary>
internal static class EvalCommand
{
    internal static Command Create(CommandContext context)
    {
        Option<string> model = new("--model") { Description = "ONNX model to evaluate.", HelpName = "FILE" };
        Option<string> run = new("--run") { Description = "Run folder whose merged model is evaluated.", HelpName = "FOLDER" };
        Option<string> data = new("--data") { Description = "Data to evaluate on.", HelpName = "FILE", Required = true };
        Option<bool> json = new("--json") { Description = "Write the result as one JSON line." };
        Option<string> task = new("--task") { Description = $"{OptionText.Choices<TrainingTask>()}; the run's, or causal-lm.", HelpName = "TASK" };
        Option<string> lossOutput = new("--loss-output") { Description = "Output the loss is taken of.", HelpName = "NAME" };
        Option<string> tokenizer = new("--tokenizer") { Description = "Tokenizer for lines that hold text.", HelpName = "PATH" };
        Option<int?> maxLength = new("--max-length") { Description = "Cut lines after so many tokens.", HelpName = "TOKENS" };
        Option<int> batch = new("--batch") { Description = "Examples of a batch.", HelpName = "N", DefaultValueFactory = _ => 8 };
        Option<int> threads = new("--threads") { Description = "Threads within an operator.", HelpName = "N" };
        Command command = new("eval", "Loss, perplexity and accuracy on data.") { model, run, data, json, task, lossOutput, tokenizer, maxLength, batch, threads };
        command.SetAction(result =>
        {
            using ModelSource source = ModelSource.Open(result.GetValue(model), result.GetValue(run));
            TrainingOptions options = source.RunOptions ?? new TrainingOptions();
            if (result.GetValue(model) is not null)
            {
                // Class names and the decoder's first token stand beside the model.
                options.Model = source.Path;
            }

            options.Task = result.GetValue(task) is string name ? OptionText.ChoiceOf<TrainingTask>("--task", name) : options.Task;
            options.LossOutput = result.GetValue(lossOutput) ?? options.LossOutput;
            options.Tokenizer = result.GetValue(tokenizer) ?? options.Tokenizer ?? ModelFolder.Tokenizer(result.GetValue(model) ?? "");
            options.MaxLength = result.GetValue(maxLength) ?? options.MaxLength;
            options.Batch = Math.Max(1, result.GetValue(batch));
            options.Threads = result.GetValue(threads);
            return Run(context, source.Path, result.GetValue(data)!, options, result.GetValue(json));
        });
        return command;
    }

    private static int Run(CommandContext context, string path, string data, TrainingOptions options, bool json)
    {
        using OnnxModel model = OnnxModelReader.Read(path);
        EvaluationResult result = ModelEvaluator.Evaluate(model, data, options);
        if (json)
        {
            context.Output.WriteLine(JsonSerializer.Serialize(result));
        }
        else
        {
            TrainingSummary.WriteEvaluation(context, result);
        }

        return 0;
    }
}
