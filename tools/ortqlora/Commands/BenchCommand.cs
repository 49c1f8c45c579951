using System.CommandLine;
using System.Globalization;
using OrtQLoRA.Graph.Checkpoints;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Models;
using OrtQLoRA.Graph.Rewriting;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Engines;
using OrtQLoRA.Trainer.Inspection;
using OrtQLoRA.Trainer.Training;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>bench step</c>: times training steps of a model from a file, or of a Llama of any size with random weights, on random tokens.</summary>
internal static class BenchCommand
{
    private const int LoraRank = 16;

    internal static Command Create(CommandContext context) => new("bench", "Measure this machine, and starts of training.") { CreateStep(context), BenchOpsCommand.Create(context), BenchStartCommand.Create(context) };

    private static Command CreateStep(CommandContext context)
    {
        Option<int> hidden = Number("--hidden", "Width of the model.", 512);
        Option<int> mlp = Number("--mlp", "Width inside the MLP.", 1376);
        Option<int> layers = Number("--layers", "Decoder layers.", 4);
        Option<int> heads = Number("--heads", "Attention heads.", 8);
        Option<int> keyValueHeads = Number("--kv-heads", "Heads of keys and values; 0: as many as attention heads.", 0);
        Option<bool> tied = new("--tied") { Description = "Let the output head share the embedding's weight." };
        Option<int> vocabulary = Number("--vocab", "Token ids.", 4096);
        Option<int> batch = Number("--batch", "Rows of a batch.", 4);
        Option<int> length = Number("--length", "Tokens of a row; with --task embedding, of an anchor and of its positive.", 256);
        Option<int?> rank = new("--rank") { Description = "Rank, on all linears; 16 for LoRA, else the method's default.", HelpName = "N" };
        Option<int> chunk = Number("--chunk-tokens", "Tokens that pass the graph at a time.", new TrainingOptions().ChunkTokens);
        Option<bool> noPrepack = new("--no-prepack") { Description = "Keep no second copy of frozen float weights." };
        Option<int> warmup = Number("--warmup", "Steps before the timed ones.", 3);
        Option<int> steps = Number("--steps", "Steps to time.", 10);
        Option<int> threads = Number("--threads", "Threads within an operator; 0: one a physical core.", 0);
        Option<string> quant = new("--quant") { Description = "How frozen weights are kept.", HelpName = OptionText.Choices<QuantizationKind>(), DefaultValueFactory = _ => "none" };
        Option<string> ops = new("--ops") { Description = "Operators of the training graph.", HelpName = OptionText.Choices<OpsMode>(), DefaultValueFactory = _ => "auto" };
        Option<string> compute = new("--compute") { Description = "Arithmetic of native products.", HelpName = OptionText.Choices<Int8Compute>(), DefaultValueFactory = _ => "fp32" };
        Option<string> engine = new("--engine") { Description = "What runs the steps; ort-training needs a build with -p:OrtFlavor=Training.", HelpName = OptionText.Choices<EngineKind>(), DefaultValueFactory = _ => OptionText.Name(EngineKind.Session) };
        Option<string> device = new("--device") { Description = "Where the graph runs.", HelpName = "cpu|cuda|cuda:N", DefaultValueFactory = _ => "cpu" };
        Option<string> precision = new("--precision") { Description = "Precision of products and activations.", HelpName = OptionText.Choices<ComputePrecision>(), DefaultValueFactory = _ => "fp32" };
        Option<bool> tf32 = new("--tf32") { Description = "Let fp32 products on a GPU round their operands to TF32." };
        Option<string> profile = new("--profile") { Description = "Prefix of a profile of the training session.", HelpName = "PREFIX" };
        Command command = new("step", "Time training steps of a model on made-up tokens: --model, or a Llama with random weights of the size given.")
        {
            hidden, mlp, layers, heads, keyValueHeads, tied, vocabulary, batch, length, rank, chunk, noPrepack, warmup, steps, threads, quant, ops, compute, engine, device, precision, tf32, profile,
        };
        TrainingOptionFlags methodFlags = TrainingOptionFlags.Only(
            command,
            [
                "model", "base-weights", "task", "loss-output", "pooling", "method", "dropout", "targets", "init-lora-weights", "optimizer", "gradient-checkpointing", "cuda-graphs",
                .. MethodCosts.OptionNames,
            ]);
        command.SetAction(result =>
        {
            LlamaModelOptions size = new()
            {
                HiddenSize = result.GetValue(hidden),
                IntermediateSize = result.GetValue(mlp),
                LayerCount = result.GetValue(layers),
                HeadCount = result.GetValue(heads),
                KeyValueHeadCount = result.GetValue(keyValueHeads) is > 0 and int groups ? groups : result.GetValue(heads),
                TieWordEmbeddings = result.GetValue(tied),
                VocabularySize = result.GetValue(vocabulary),
                ContextLength = Math.Max(1, result.GetValue(length)),
            };
            TrainingOptions options = methodFlags.Read(result);
            bool isLlama = string.IsNullOrEmpty(options.Model);
            options.Model = isLlama ? "benchmark" : options.Model;
            options.Batch = Math.Max(1, result.GetValue(batch));
            options.Rank = result.GetValue(rank) ?? (options.Method is null or "lora" or "dora" ? LoraRank : null);
            options.Quantization = OptionText.ChoiceOf<QuantizationKind>("--quant", result.GetValue(quant)!);
            options.Ops = OptionText.ChoiceOf<OpsMode>("--ops", result.GetValue(ops)!);
            options.Compute = OptionText.ChoiceOf<Int8Compute>("--compute", result.GetValue(compute)!);
            options.Engine = OptionText.ChoiceOf<EngineKind>("--engine", result.GetValue(engine)!);
            options.Device = ExecutionDevice.Parse(result.GetValue(device)!);
            options.Precision = OptionText.ChoiceOf<ComputePrecision>("--precision", result.GetValue(precision)!);
            options.UseTf32 = result.GetValue(tf32);
            options.Threads = Math.Max(0, result.GetValue(threads));
            options.ChunkTokens = Math.Max(1, result.GetValue(chunk));
            options.PrepackWeights = !result.GetValue(noPrepack);
            options.Profile = result.GetValue(profile);
            if (!isLlama)
            {
                options.ResolveModelFolder();
            }

            return Run(context, isLlama ? size : null, options, size.ContextLength, Math.Max(0, result.GetValue(warmup)), Math.Max(1, result.GetValue(steps)));
        });
        return command;
    }

    private static int Run(CommandContext context, LlamaModelOptions? size, TrainingOptions options, int length, int warmup, int steps)
    {
        using OnnxModel model = size is null ? BaseModel.Read(options.Model, options.BaseWeights) : LlamaModelBuilder.Build(size);
        using TrainingProgress progress = new(context);
        StepBenchmarkResult result = StepBenchmark.Run(model, options, length, warmup, steps, progress);
        string what = size is null ? options.Model : string.Create(
            CultureInfo.InvariantCulture,
            $"Llama hidden {size.HiddenSize}, MLP {size.IntermediateSize}, {size.LayerCount} layers, {size.HeadCount} heads, vocabulary {size.VocabularySize}");
        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{what}; batch {options.Batch} x {length}, {options.Method ?? "lora"}{(options.Rank is int rank ? $" of rank {rank}" : "")}, base {OptionText.Name(options.Quantization)}, optimizer {options.Optimizer.Name}, ops {OptionText.Name(options.Ops)}, compute {OptionText.Name(options.Compute)}, engine {OptionText.Name(options.Engine)}, device {options.Device}, precision {OptionText.Name(options.Precision)}"));
        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"median {result.MedianSeconds * 1000:F1} ms a step (fastest {result.Seconds.Min() * 1000:F1}), {result.TokensPerSecond:F0} tokens/s, peak memory {result.PeakBytes / 1e6:F0} MB{(result.DeviceBytes is long bytes ? $" and {bytes / 1e6:F0} MB on the GPU" : "")}{(result.DevicePeakBytes is long peak ? $" ({peak / 1e6:F0} MB of tensors)" : "")}, {result.TrainableParameters} trained parameters, loss {result.Loss:F4}"));
        return 0;
    }

    private static Option<int> Number(string name, string description, int value) =>
        new(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => value };
}
