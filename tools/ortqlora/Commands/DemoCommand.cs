using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer;
using OrtQLoRA.Trainer.Callbacks;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Evaluation;
using OrtQLoRA.Trainer.Generation;
using OrtQLoRA.Trainer.Runs;
using OrtQLoRA.Trainer.Schedules;
using OrtQLoRA.Trainer.Tokenizers;
using Spectre.Console;

namespace OrtQLoRA.Cli.Commands;

/// <summary>
/// <c>demo</c>: the whole way on a small model that comes along: evaluate, quantize, train, evaluate, export, verify.
/// </summary>
internal static class DemoCommand
{
    private const double Tolerance = 1e-4;
    private const string Prompt = "LOG 12 Nov.";

    private static readonly string Assets = Path.Combine(AppContext.BaseDirectory, "demo");
    private static readonly string Model = Path.Combine(Assets, "model.onnx");
    private static readonly string Tokenizer = Path.Combine(Assets, "tokenizer.bin");
    private static readonly string EvalData = Path.Combine(Assets, "logbook-eval.jsonl");

    internal static Command Create(CommandContext context)
    {
        Option<string> output = new("--out") { Description = "Folder to write; runs/demo by default.", HelpName = "FOLDER", DefaultValueFactory = _ => Path.Combine("runs", "demo") };
        Option<long> steps = new("--steps") { Description = "Optimizer steps; 120 by default.", HelpName = "N", DefaultValueFactory = _ => 120 };
        Option<int> threads = new("--threads") { Description = "Threads within an operator; one a physical core by default.", HelpName = "N" };
        Command command = new("demo", "Fine-tune a small model that comes along, from quantization to a verified export.") { output, steps, threads };
        command.SetAction(result => Run(context, Options(result.GetValue(output)!, result.GetValue(steps), result.GetValue(threads))));
        return command;
    }

    private static TrainingOptions Options(string output, long steps, int threads) => new()
    {
        Model = Model,
        Tokenizer = Tokenizer,
        Data = Path.Combine(Assets, "logbook.jsonl"),
        EvalData = EvalData,
        Out = output,
        AppendEos = true,
        Quantization = QuantizationKind.Eetq,
        Rank = 16,
        Alpha = 32,
        LearningRate = 5e-3,
        Batch = 16,
        MaxSteps = steps,
        LearningRateSchedule = ScheduleKind.Linear,
        WarmupSteps = steps / 10,
        Threads = threads,
    };

    private static int Run(CommandContext context, TrainingOptions options)
    {
        Stopwatch watch = Stopwatch.StartNew();
        IAnsiConsole console = context.Tables;
        ITextTokenizer tokenizer = TokenizerLoader.Load(Tokenizer);
        Heading(console, "A model that knows stories of a harbour learns to keep the lighthouse's logbook");
        console.MarkupLineInterpolated($"Base model: {Model} ({ParameterCount():N0} parameters, trained from scratch by OrtQLoRA)");

        Heading(console, "Before");
        EvaluationResult before;
        using (OnnxModel model = OnnxModelReader.Read(Model))
        {
            before = ModelEvaluator.Evaluate(model, EvalData, options);
        }

        WriteEvaluation(console, before);
        WriteSample(console, tokenizer, Model, "It was a cold evening.");
        WriteSample(console, tokenizer, Model, Prompt);

        Heading(console, "Quantize to int8 and train LoRA");
        TrainingResult trained;
        using (TrainingProgress progress = new(context))
        {
            trained = QLoraTrainer.Run(options, progress);
            progress.Finish();
        }

        Heading(console, "After");
        WriteEvaluation(console, trained.Evaluation!);

        Heading(console, "Export and verify");
        RunFolder run = RunFolder.Open(trained.RunFolder);
        string merged = Path.Combine(run.Path, "merged.onnx");
        RunExporter.ExportMerged(run, merged);
        double difference = ExportVerifier.RelativeDifference(run, merged, EvalData);
        console.MarkupLineInterpolated($"Merged model: {merged} ({new FileInfo(merged).Length / 1e6:F1} MB)");
        console.MarkupLineInterpolated($"In a plain ONNX Runtime session its logits differ from the trained graph's by {difference:G2} (relative L2; at most {Tolerance:G2}).");
        WriteSample(console, tokenizer, merged, Prompt);
        if (!(difference <= Tolerance))
        {
            context.Error.WriteLine("The exported model is not the trained one; please report this with the lines above.");
            return CommandLineApp.InternalError;
        }

        WriteSummary(console, before, trained, watch.Elapsed);
        return 0;
    }

    private static long ParameterCount()
    {
        using OnnxModel model = OnnxModelReader.Read(Model);
        return LinearFinder.Find(model).Parameters.DistinctBy(p => p.Value).Sum(p => p.Content.ElementCount());
    }

    private static void Heading(IAnsiConsole console, string text)
    {
        console.WriteLine();
        console.MarkupLineInterpolated($"[bold]{text}[/]");
    }

    private static void WriteEvaluation(IAnsiConsole console, EvaluationResult result) =>
        console.MarkupLineInterpolated($"On logbook entries it has not seen: loss {result.Loss:F3}, perplexity {result.Perplexity:F1}, next token right {result.Accuracy:P0}");

    private static void WriteSample(IAnsiConsole console, ITextTokenizer tokenizer, string model, string prompt)
    {
        using TextGenerator generator = new(model);
        int[] ids = tokenizer.Encode(prompt);
        GenerationResult result = generator.Generate(
            ids, new GenerationOptions { MaxNewTokens = 110, Temperature = 0.6, TopP = 0.9, Seed = 1, StopIds = GenerateCommand.StopIds(tokenizer) });
        string text = tokenizer.Decode([.. ids, .. result.Ids]);
        console.MarkupLineInterpolated($"  [green]{prompt}[/][dim]{text[prompt.Length..]}[/]");
    }

    private static void WriteSummary(IAnsiConsole console, EvaluationResult before, TrainingResult trained, TimeSpan time)
    {
        EvaluationResult after = trained.Evaluation!;
        Heading(console, "Summary");
        Table table = new Table().AddColumns("", "before", "after");
        table.AddRow("loss", Text(before.Loss, "F3"), Text(after.Loss, "F3"));
        table.AddRow("perplexity", Text(before.Perplexity, "F1"), Text(after.Perplexity, "F1"));
        table.AddRow("next token right", Text(before.Accuracy, "P0"), Text(after.Accuracy, "P0"));
        console.Write(table);
        console.MarkupLineInterpolated($"{time.TotalSeconds:F0} seconds. The run is in {trained.RunFolder}: metrics.jsonl, adapter/ in PEFT's form, merged.onnx.");
        console.MarkupLineInterpolated($"Your own model: [bold]ortqlora train --model model.onnx --tokenizer tokenizer.json --data train.jsonl --quant eetq --out run[/]");
    }

    private static string Text(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";
}
