using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Losses;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Graph.Training;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Cli.Commands;

/// <summary>
/// <c>gradients</c>: loss and gradients of a model for one batch. The batch file holds <c>input.NAME</c> for graph inputs and
/// <c>label.labels</c> or <c>label.target</c>; the result is keyed by initializer name.
/// </summary>
internal static class GradientsCommand
{
    private const string InputKey = "input.";
    private const string LabelKey = "label.";

    internal static Command Create(CommandContext context)
    {
        Option<string> model = new("--model") { Description = "ONNX model.", HelpName = "FILE", Required = true };
        Option<string> batch = new("--batch") { Description = "Safetensors file with input.NAME and label.labels or label.target.", HelpName = "FILE", Required = true };
        Option<string> prefix = new("--prefix") { Description = "What the batch's names begin with, for example case0.", HelpName = "TEXT", DefaultValueFactory = _ => "" };
        Option<string> loss = new("--loss") { Description = "Loss.", HelpName = "causal-lm|cross-entropy|mse", Required = true };
        loss.AcceptOnlyFromAmong(CrossEntropyLoss.CausalLanguageModeling.Name, CrossEntropyLoss.Plain.Name, MeanSquaredErrorLoss.Plain.Name);
        Option<string> lossOutput = new("--loss-output") { Description = "Graph output the loss is taken of; logits or the only floating-point one by default.", HelpName = "NAME" };
        Option<string[]> wrt = new("--wrt") { Description = "Initializers to differentiate by; every floating-point one by default.", HelpName = "NAMES", AllowMultipleArgumentsPerToken = true };
        Option<string> output = new("--output") { Description = "Safetensors file to write.", HelpName = "FILE", Required = true };
        Option<int> threads = new("--threads") { Description = "Threads within an operator.", HelpName = "N" };
        Command command = new("gradients", "Loss and gradients of every float initializer for one batch.") { model, batch, prefix, loss, lossOutput, wrt, output, threads };
        command.SetAction(result =>
        {
            string[]? names = result.GetValue(wrt) is { Length: > 0 } list ? [.. list.SelectMany(OptionText.List)] : null;
            using OnnxModel graph = OnnxModelReader.Read(result.GetValue(model)!);
            Dictionary<string, DenseTensor> tensors = ReadBatch(result.GetValue(batch)!, result.GetValue(prefix)!);
            (double value, IReadOnlyDictionary<string, DenseTensor> gradients) = GradientProbe.Compute(
                graph,
                LossHeads.Get(result.GetValue(loss)!),
                result.GetValue(lossOutput),
                tensors,
                names,
                new EngineOptions { IntraOpThreads = result.GetValue(threads) });
            if (!double.IsFinite(value))
            {
                throw new ConfigurationException(
                    $"The loss of this batch is {value.ToString(CultureInfo.InvariantCulture)}, so that it has no gradient. Look for values that are not finite among the batch's inputs and the model's weights, and for labels that are all ignored (-100).");
            }

            SafetensorsWriter.Write(result.GetValue(output)!, gradients.Select(g => KeyValuePair.Create(g.Key, (ITensor)g.Value)));
            context.Output.WriteLine($"Wrote {gradients.Count} gradients to {result.GetValue(output)}");
            context.Output.WriteLine(JsonSerializer.Serialize(new { loss = value }));
            return 0;
        });
        return command;
    }

    /// <summary>Tensors by graph input, copied out of the file.</summary>
    private static Dictionary<string, DenseTensor> ReadBatch(string path, string prefix)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Dictionary<string, DenseTensor> batch = [];
        foreach ((string key, ITensor tensor) in file.Tensors)
        {
            if (!key.StartsWith(prefix, StringComparison.Ordinal))
            {
                continue;
            }

            string name = key[prefix.Length..];
            if (name.StartsWith(InputKey, StringComparison.Ordinal))
            {
                batch[name[InputKey.Length..]] = new DenseTensor(tensor.ElementType, tensor.Dims, tensor.ToBytes());
            }
            else if (name == LabelKey + ArtifactNames.Labels)
            {
                batch[ArtifactNames.Labels] = DenseTensor.Of(tensor.Dims, tensor.ToInt64s());
            }
            else if (name == LabelKey + ArtifactNames.Target)
            {
                batch[ArtifactNames.Target] = DenseTensor.Of(tensor.Dims, tensor.ToFloats());
            }
        }

        return batch.Count > 0
            ? batch
            : throw new ConfigurationException(
                $"'{path}' holds no '{prefix}{InputKey}NAME'; its names are {string.Join(", ", file.Tensors.Keys.Order(StringComparer.Ordinal).Take(12))}. Mend --prefix.");
    }
}
