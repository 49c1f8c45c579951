using System.Text.Json;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Conformance;

/// <summary>
/// A training run that another framework recorded, in the form that the command line takes: data lines, flags, and
/// what must come out.
/// </summary>
internal sealed class RecordedRun
{
    /// <summary>The base of PEFT's runs on EETQ layers, whose kernels round <c>q * scale</c> to fp16.</summary>
    private const string PeftsEetq = "eetq-fp16";

    public required string Name { get; init; }

    /// <summary>The base model's file.</summary>
    public required string Model { get; init; }

    /// <summary>One JSON line an example, in training order.</summary>
    public required IReadOnlyList<string> DataLines { get; init; }

    /// <summary>Flags of <c>train</c> beyond model, data and output.</summary>
    public required IReadOnlyList<string> Flags { get; init; }

    public required IReadOnlyList<double> Losses { get; init; }

    public required IReadOnlyList<double> GradientNorms { get; init; }

    /// <summary>Adapter after the last step, in PEFT's names.</summary>
    public required string FinalAdapter { get; init; }

    /// <summary>Gradients of the first step before clipping, in PEFT's names.</summary>
    public required string FirstGradients { get; init; }

    /// <summary>What to give as <c>--init-adapter</c>; null starts from the method's own initialization.</summary>
    public string? Start { get; init; }

    /// <summary>Relative bound for the loss of each step.</summary>
    public double LossTolerance { get; init; } = 1e-4;

    /// <summary>Relative L2 bound for each gradient of the first step.</summary>
    public required double GradientTolerance { get; init; }

    /// <summary>Relative L2 bound for each tensor of the final adapter.</summary>
    public double FinalTolerance { get; init; } = 1e-3;

    /// <summary>Names of the libtorch runs under <c>fixtures/golden</c>.</summary>
    public static IEnumerable<string> GoldenNames => Folders("golden");

    /// <summary>Names of the PEFT runs under <c>fixtures/peft</c>.</summary>
    public static IEnumerable<string> PeftNames => Fixtures.Files("run.json", "peft").Select(p => p.Split('/')).Where(p => p is [_, _, not "multi_adapter", _]).Select(p => $"{p[1]}/{p[2]}");

    /// <summary>Reads a libtorch run.</summary>
    public static RecordedRun Golden(string name)
    {
        string folder = Fixtures.Require($"golden/{name}");
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "golden.json")));
        JsonElement json = document.RootElement;
        JsonElement optimizer = json.GetProperty("optimizer");
        int sequence = json.GetProperty("seq").GetInt32();
        List<string> lines = [];
        foreach (JsonElement batch in json.GetProperty("batches").EnumerateArray())
        {
            long[][] ids = Rows(batch.GetProperty("input_ids"), sequence);
            long[][] labels = Rows(batch.GetProperty("labels"), sequence);
            lines.AddRange(ids.Zip(labels, (i, l) => JsonSerializer.Serialize(new { input_ids = i, labels = l })));
        }

        List<string> flags =
        [
            "--task", "causal-lm", "--method", "lora",
            "--quant", json.GetProperty("base_weights").GetString() == "eetq" ? "eetq" : "none",
            "--rank", Text(json.GetProperty("r")), "--alpha", Text(json.GetProperty("alpha")),
            "--targets", string.Join(",", json.GetProperty("targets").EnumerateArray().Select(t => t.GetString())),
            "--batch", Text(json.GetProperty("batch")), "--grad-accum", Text(json.GetProperty("accum")),
            "--max-steps", Text(json.GetProperty("losses").GetArrayLength()),
            "--lr", Text(optimizer.GetProperty("lr")), "--weight-decay", Text(optimizer.GetProperty("weight_decay")),
            "--adam-beta1", Text(optimizer.GetProperty("beta1")), "--adam-beta2", Text(optimizer.GetProperty("beta2")),
            "--adam-eps", Text(optimizer.GetProperty("eps")), "--max-grad-norm", Text(optimizer.GetProperty("max_grad_norm")),
            "--lr-schedule", optimizer.GetProperty("lr_schedule").GetString()!,
        ];
        if (json.GetProperty("use_rslora").GetBoolean())
        {
            flags.Add("--rslora");
        }

        return new RecordedRun
        {
            Name = name,
            Model = Fixtures.Require(json.GetProperty("model").GetString()!),
            DataLines = lines,
            Flags = flags,
            Losses = Doubles(json.GetProperty("losses")),
            GradientNorms = Doubles(json.GetProperty("grad_norms_before_clip")),
            Start = Path.Combine(folder, "lora_start.safetensors"),
            FirstGradients = Path.Combine(folder, "grads_step1.safetensors"),
            FinalAdapter = Path.Combine(folder, "lora_final.safetensors"),
            GradientTolerance = 1e-4,
        };
    }

    /// <summary>Reads a PEFT run, for example <c>llama/lora_default</c>.</summary>
    public static RecordedRun Peft(string name)
    {
        string folder = Fixtures.Require($"peft/{name}");
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "run.json")));
        JsonElement json = document.RootElement;
        JsonElement optimizer = json.GetProperty("optimizer");
        string baseName = json.GetProperty("base").GetString()!;
        bool isClassifier = baseName == "bert";
        bool isEetq = json.GetProperty("base_weights").GetString() != "fp32";
        int accumulation = json.GetProperty("gradient_accumulation").GetInt32();
        JsonElement batches = json.GetProperty("batches");
        (string schedule, int warmup) = Schedule(json.GetProperty("schedule").GetString()!);
        JsonElement maxNorm = json.GetProperty("max_grad_norm");
        List<string> flags =
        [
            "--task", isClassifier ? "sequence-classification" : "causal-lm",
            "--quant", isEetq ? PeftsEetq : "none",
            "--batch", Text(batches[0].GetProperty("input_ids").GetArrayLength()), "--grad-accum", Text(accumulation),
            "--loss-normalization", name.EndsWith("_tokens", StringComparison.Ordinal) ? "tokens" : "mean",
            "--max-steps", Text(json.GetProperty("steps")),
            "--lr", Text(optimizer.GetProperty("lr")), "--weight-decay", Text(optimizer.TryGetProperty("weight_decay", out JsonElement decay) ? decay : optimizer.GetProperty("loraplus_weight_decay")),
            "--adam-beta1", Text(optimizer.GetProperty("betas")[0]), "--adam-beta2", Text(optimizer.GetProperty("betas")[1]),
            "--adam-eps", Text(optimizer.GetProperty("eps")),
            "--max-grad-norm", maxNorm.ValueKind == JsonValueKind.Null ? "0" : Text(maxNorm),
            "--lr-schedule", schedule, "--warmup-steps", Text(warmup),
        ];
        string optimizerClass = optimizer.GetProperty("class").GetString()!;
        if (optimizerClass.Contains("lorafa", StringComparison.Ordinal))
        {
            flags.AddRange(["--method", "lora-fa"]);
        }
        else if (optimizerClass.Contains("loraplus", StringComparison.Ordinal))
        {
            flags.AddRange(["--loraplus-ratio", Text(optimizer.GetProperty("loraplus_lr_ratio"))]);
        }

        string start = Path.Combine(folder, "start");
        string changed = Path.Combine(folder, "final", "changed.safetensors");
        if (!Directory.Exists(start))
        {
            flags.AddRange(["--method", name.EndsWith("bitfit", StringComparison.Ordinal) ? "bitfit" : "full"]);
        }

        return new RecordedRun
        {
            Name = name,
            Model = Fixtures.Require($"peft/bases/{baseName}/model.onnx"),
            DataLines = [.. batches.EnumerateArray().SelectMany(b => PeftLines(b, isClassifier))],
            Flags = flags,
            Losses = [.. json.GetProperty("per_step").EnumerateArray().Select(s => s.GetProperty("loss").GetDouble())],
            GradientNorms = [.. json.GetProperty("per_step").EnumerateArray().Select(s => s.GetProperty("grad_norm").GetDouble())],
            Start = Directory.Exists(start) ? start : null,
            FirstGradients = Path.Combine(folder, "grads_step1.safetensors"),
            FinalAdapter = File.Exists(changed) ? changed : Path.Combine(folder, "final", "adapter_model.safetensors"),
            GradientTolerance = 1e-3,
            FinalTolerance = 2e-3,
        };
    }

    private static IEnumerable<string> PeftLines(JsonElement batch, bool isClassifier)
    {
        JsonElement[] ids = [.. batch.GetProperty("input_ids").EnumerateArray()];
        JsonElement[] masks = [.. batch.GetProperty("attention_mask").EnumerateArray()];
        JsonElement[] labels = [.. batch.GetProperty("labels").EnumerateArray()];
        string key = isClassifier ? "label" : "labels";
        return ids.Select((row, i) => $$"""{"input_ids":{{row.GetRawText()}},"attention_mask":{{masks[i].GetRawText()}},"{{key}}":{{labels[i].GetRawText()}}}""");
    }

    private static (string Kind, int Warmup) Schedule(string recorded)
    {
        // "constant", or a call such as transformers.get_cosine_schedule_with_warmup(num_warmup_steps=3, ...).
        int at = recorded.IndexOf("num_warmup_steps=", StringComparison.Ordinal);
        int warmup = at < 0 ? 0 : int.Parse(new string([.. recorded[(at + "num_warmup_steps=".Length)..].TakeWhile(char.IsDigit)]), null);
        return (recorded.Contains("cosine", StringComparison.Ordinal) ? "cosine"
            : recorded.Contains("linear", StringComparison.Ordinal) ? "linear"
            : "constant", warmup);
    }

    private static long[][] Rows(JsonElement flat, int length) =>
        [.. flat.EnumerateArray().Select(v => v.GetInt64()).Chunk(length)];

    private static double[] Doubles(JsonElement array) => [.. array.EnumerateArray().Select(v => v.GetDouble())];

    private static string Text(JsonElement number) => number.GetRawText();

    private static string Text(int number) => number.ToString(System.Globalization.CultureInfo.InvariantCulture);

    private static IEnumerable<string> Folders(string under) => Fixtures.IsAvailable && Directory.Exists(Path.Combine(Fixtures.Root, under))
        ? Directory.EnumerateDirectories(Path.Combine(Fixtures.Root, under)).Select(d => Path.GetFileName(d)).Order(StringComparer.Ordinal)
        : ["absent"];
}
