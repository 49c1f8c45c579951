using System.CommandLine;
using System.Globalization;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Combining;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.Export;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Quantization;
using OrtQLoRA.Graph.Safetensors;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Configuration;
using Spectre.Console;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>adapter</c>: what is in adapters, how they differ, one of several, LoRA of others.</summary>
internal static class AdapterCommand
{
    internal static Command Create(CommandContext context) => new("adapter", "Look at, combine and convert adapters.")
    {
        Info(context),
        Diff(context),
        Merge(context),
        Convert(context),
    };

    private static Command Info(CommandContext context)
    {
        Argument<string> adapter = new("adapter") { Description = "PEFT folder or safetensors file." };
        Command command = new("info", "Show an adapter's method, configuration and tensors.") { adapter };
        command.SetAction(result => ShowInfo(context, result.GetValue(adapter)!));
        return command;
    }

    private static Command Diff(CommandContext context)
    {
        Argument<string> first = new("first") { Description = "PEFT folder or safetensors file." };
        Argument<string> second = new("second") { Description = "PEFT folder or safetensors file." };
        Command command = new("diff", "Show where two adapters differ: keys of the configuration, tensors, values.") { first, second };
        command.SetAction(result => ShowDiff(context, result.GetValue(first)!, result.GetValue(second)!));
        return command;
    }

    private static Command Merge(CommandContext context)
    {
        Option<string[]> adapters = new("--adapters", "--adapter") { Description = "LoRA adapters: PEFT folders.", HelpName = "FOLDERS", Required = true, AllowMultipleArgumentsPerToken = true };
        Option<string[]> weights = new("--weights") { Description = "A weight for each; 1 by default.", HelpName = "NUMBERS", AllowMultipleArgumentsPerToken = true };
        Option<string> type = new("--type", "--combination-type") { Description = "How they are combined.", HelpName = TypeNames, DefaultValueFactory = _ => "linear" };
        Option<int?> svdRank = new("--svd-rank") { Description = "Rank of svd and its kin; the largest by default.", HelpName = "R" };
        Option<double?> svdClamp = new("--svd-clamp") { Description = "Quantile to which decomposed factors are clamped.", HelpName = "Q" };
        Option<double?> density = new("--density") { Description = "Share that pruning keeps.", HelpName = "D" };
        Option<string> sign = new("--majority-sign-method") { Description = "How TIES elects signs.", HelpName = "total|frequency", DefaultValueFactory = _ => "total" };
        sign.AcceptOnlyFromAmong("total", "frequency");
        Option<long> seed = new("--seed") { Description = "Seed of DARE's dropping.", HelpName = "N", DefaultValueFactory = _ => 0 };
        Option<string> masks = new("--masks") { Description = "DARE's masks as safetensors (KEY.FOLDER), instead of drawing them.", HelpName = "FILE" };
        Option<string> output = new("--output") { Description = "Folder to write.", HelpName = "FOLDER", Required = true };
        Command command = new("merge", "Make one LoRA adapter of several, as PEFT's add_weighted_adapter.") { adapters, weights, type, svdRank, svdClamp, density, sign, seed, masks, output };
        command.SetAction(result => Combine(
            context,
            [.. result.GetValue(adapters)!.SelectMany(a => a.Split(',', StringSplitOptions.RemoveEmptyEntries))],
            result.GetValue(masks),
            result.GetValue(output)!,
            new CombinationOptions
            {
                Type = ParseType(result.GetValue(type)!),
                Weights = result.GetValue(weights) is { Length: > 0 } given ? ParseWeights(given) : null,
                SvdRank = result.GetValue(svdRank),
                SvdClamp = result.GetValue(svdClamp),
                Density = result.GetValue(density),
                ElectsByFrequency = result.GetValue(sign) == "frequency",
                Seed = result.GetValue(seed),
            }));
        return command;
    }

    private static Command Convert(CommandContext context)
    {
        Option<string> adapter = new("--adapter") { Description = "PEFT folder.", HelpName = "FOLDER", Required = true };
        Option<string> model = new("--model") { Description = "The original base model.", HelpName = "FILE", Required = true };
        Option<string> to = new("--to") { Description = "What to make.", HelpName = "lora", DefaultValueFactory = _ => "lora" };
        to.AcceptOnlyFromAmong("lora");
        Option<int> rank = new("--rank") { Description = "Rank of the approximation, where the conversion is not exact.", HelpName = "R", DefaultValueFactory = _ => 8 };
        Option<string> quant = new("--quant") { Description = "How the base was kept in training.", HelpName = OptionText.Choices<QuantizationKind>(), DefaultValueFactory = _ => OptionText.Name(QuantizationKind.None) };
        Option<string?> quantExclude = new("--quant-exclude") { Description = "Linear layers that --quant left as they were.", HelpName = "NAMES" };
        Option<string> output = new("--output") { Description = "Folder to write.", HelpName = "FOLDER", Required = true };
        Command command = new("convert", "Make plain LoRA for the original base of any adapter that can be merged.") { adapter, model, to, rank, quant, quantExclude, output };
        command.SetAction(result => ConvertToLora(
            context,
            result.GetValue(adapter)!,
            result.GetValue(model)!,
            result.GetValue(rank),
            OptionText.ChoiceOf<QuantizationKind>("--quant", result.GetValue(quant)!),
            result.GetValue(quantExclude) is string kept ? ModuleSelector.Parse(kept) : null,
            result.GetValue(output)!));
        return command;
    }

    private static string TypeNames => string.Join('|', Enum.GetValues<CombinationType>().Select(NameOf));

    private static string NameOf(CombinationType type) => OptionText.Name(type).Replace('-', '_');

    private static CombinationType ParseType(string text)
    {
        CombinationType[] found = [.. Enum.GetValues<CombinationType>().Where(t => string.Equals(NameOf(t), text.Replace('-', '_'), StringComparison.OrdinalIgnoreCase))];
        return found.Length == 1 ? found[0] : throw new ConfigurationException($"--type is '{text}'; it must be one of {TypeNames}.");
    }

    private static double[] ParseWeights(string[] texts) =>
    [
        .. texts.SelectMany(t => t.Split(',', StringSplitOptions.RemoveEmptyEntries)).Select(t => double.TryParse(t, NumberStyles.Float, CultureInfo.InvariantCulture, out double weight)
            ? weight
            : throw new ConfigurationException($"--weights holds '{t}'; numbers are expected.")),
    ];

    private static int Combine(CommandContext context, string[] folders, string? masks, string output, CombinationOptions options)
    {
        List<AdapterWeights> adapters = [];
        try
        {
            adapters.AddRange(folders.Select(f => PeftAdapterFolder.Read(f)));
            using SafetensorsFile? file = masks is null ? null : SafetensorsFile.Open(masks);
            CombinationOptions all = new()
            {
                Type = options.Type,
                Weights = options.Weights,
                SvdRank = options.SvdRank,
                SvdClamp = options.SvdClamp,
                Density = options.Density,
                ElectsByFrequency = options.ElectsByFrequency,
                Seed = options.Seed,
                Masks = file?.Tensors,
                Names = [.. folders.Select(f => Path.GetFileName(Path.TrimEndingDirectorySeparator(f)))],
            };
            AdapterWeights combined = AdapterCombiner.Combine(adapters, all);
            PeftAdapterFolder.Write(output, combined);
        }
        finally
        {
            adapters.ForEach(a => a.Dispose());
        }

        context.Output.WriteLine($"Wrote {output}");
        return 0;
    }

    private static int ConvertToLora(CommandContext context, string path, string modelPath, int rank, QuantizationKind quantization, ModuleSelector? kept, string output)
    {
        if (rank < 1)
        {
            throw new ConfigurationException($"--rank is {rank}; it must be at least 1.");
        }

        using AdapterWeights adapter = PeftAdapterFolder.Read(path);
        using OnnxModel model = OnnxModelReader.Read(modelPath);
        IWeightFormat? format = quantization == QuantizationKind.None ? null : WeightFormatRegistry.Default.Get(OptionText.Name(quantization));
        (AdapterWeights converted, double error) = LoraConversion.ToLora(model, adapter, rank, new MergeOptions { Format = format, KeptModules = kept });
        PeftAdapterFolder.Write(output, converted);
        context.Output.WriteLine(error == 0
            ? $"Wrote {output}, exactly"
            : string.Create(CultureInfo.InvariantCulture, $"Wrote {output}; largest relative error of a weight's change {error:P2}"));
        return 0;
    }

    private static int ShowInfo(CommandContext context, string path)
    {
        using AdapterWeights adapter = PeftAdapterFolder.Read(path);
        long numbers = adapter.Tensors.Values.Sum(t => t.ElementCount());
        context.Output.WriteLine($"{path}: {adapter.Method?.Name ?? "tensors without a configuration"}{(adapter.Method?.PeftType is { } type ? $" ({type})" : "")}");
        context.Output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  {adapter.Tensors.Count} tensors, {numbers:N0} numbers, {adapter.Tensors.Values.Sum(t => t.ByteLength):N0} bytes"));
        foreach ((string key, System.Text.Json.Nodes.JsonNode? value) in adapter.Config?.ToJson().Where(p => p.Value is not null) ?? [])
        {
            context.Output.WriteLine($"  {key}: {value!.ToJsonString()}");
        }

        if (adapter.Config?.UnknownKeysWarning(path) is { } warning)
        {
            context.Error.WriteLine($"Warning: {warning}");
        }

        Table table = new Table().AddColumns("Tensor", "Type", "Shape", "Norm", "Largest");
        foreach ((string key, ITensor tensor) in adapter.Tensors.OrderBy(t => t.Key, StringComparer.Ordinal))
        {
            float[] values = tensor.ToFloats();
            table.AddRow(
                new Text(key),
                new Text(tensor.ElementType.OnnxName()),
                new Text($"[{string.Join(", ", tensor.Dims)}]"),
                new Text(Math.Sqrt(values.Sum(v => (double)v * v)).ToString("G4", CultureInfo.InvariantCulture)),
                new Text(values.Length == 0 ? "" : values.Max(Math.Abs).ToString("G4", CultureInfo.InvariantCulture)));
        }

        context.Tables.Write(table);
        return 0;
    }

    private static int ShowDiff(CommandContext context, string firstPath, string secondPath)
    {
        using AdapterWeights first = PeftAdapterFolder.Read(firstPath);
        using AdapterWeights second = PeftAdapterFolder.Read(secondPath);
        System.Text.Json.Nodes.JsonObject left = first.Config?.ToJson() ?? [];
        System.Text.Json.Nodes.JsonObject right = second.Config?.ToJson() ?? [];
        foreach (string key in left.Select(p => p.Key).Union(right.Select(p => p.Key)).Order(StringComparer.Ordinal))
        {
            string a = left[key]?.ToJsonString() ?? "null";
            string b = right[key]?.ToJsonString() ?? "null";
            if (a != b)
            {
                context.Output.WriteLine($"{key}: {a} | {b}");
            }
        }

        int different = 0;
        foreach (string key in first.Tensors.Keys.Union(second.Tensors.Keys).Order(StringComparer.Ordinal))
        {
            if (Difference(first, second, key) is { } text)
            {
                different++;
                context.Output.WriteLine($"{key}: {text}");
            }
        }

        context.Output.WriteLine(different == 0 ? "All tensors are equal." : $"{different} tensors differ.");
        return 0;
    }

    private static string? Difference(AdapterWeights first, AdapterWeights second, string key)
    {
        if (!first.Tensors.TryGetValue(key, out ITensor? a) || !second.Tensors.TryGetValue(key, out ITensor? b))
        {
            return first.Tensors.ContainsKey(key) ? "only in the first" : "only in the second";
        }

        if (!a.Dims.AsSpan().SequenceEqual(b.Dims.AsSpan()))
        {
            return $"[{string.Join(", ", a.Dims)}] | [{string.Join(", ", b.Dims)}]";
        }

        float[] left = a.ToFloats();
        float[] right = b.ToFloats();
        double largest = 0;
        double square = 0;
        double norm = 0;
        for (int i = 0; i < left.Length; i++)
        {
            double difference = (double)left[i] - right[i];
            largest = Math.Max(largest, Math.Abs(difference));
            square += difference * difference;
            norm += (double)left[i] * left[i];
        }

        return largest == 0 ? null : string.Create(CultureInfo.InvariantCulture, $"largest difference {largest:G4}, relative {Math.Sqrt(square / Math.Max(norm, double.Epsilon)):G4}");
    }
}
