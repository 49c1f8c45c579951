using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using OrtQLoRA.Graph.Quantization.Sensitivity;
using OrtQLoRA.Trainer.Configuration;
using YamlDotNet.Serialization;

namespace OrtQLoRA.Trainer.Inspection;

/// <summary>Advice as a configuration file that <c>train --config</c> takes.</summary>
public static class SuggestedConfiguration
{
    /// <summary>The file's content, YAML.</summary>
    /// <param name="advice">The advice.</param>
    /// <param name="options">What the advice was given for.</param>
    public static string ToYaml(QuantizationAdvice advice, TrainingOptions options)
    {
        ArgumentNullException.ThrowIfNull(advice);
        ArgumentNullException.ThrowIfNull(options);
        double alpha = options.Alpha ?? 8;
        OrderedDictionary<string, object> keys = new()
        {
            ["quant"] = OptionText.Name(options.Quantization == QuantizationKind.None ? QuantizationKind.Eetq : options.Quantization),
        };
        if (advice.Kept.Count > 0)
        {
            keys["quant-exclude"] = advice.Kept;
        }

        keys["rank"] = advice.Rank;
        keys["alpha"] = alpha;
        if (options.RsLora == true)
        {
            keys["rslora"] = true;
        }

        if (options.Targets is { } targets)
        {
            keys["targets"] = targets.Names ?? (object)targets.ToString();
        }

        if (advice.Ranks.Count > 0)
        {
            // alpha / r, or alpha / sqrt(r), stays the same on every layer.
            double Share(int rank) => options.RsLora == true ? Math.Sqrt((double)rank / advice.Rank) : (double)rank / advice.Rank;
            keys["rank-pattern"] = advice.Ranks.ToDictionary(r => Regex.Escape(r.Key), r => r.Value);
            keys["alpha-pattern"] = advice.Ranks.ToDictionary(r => Regex.Escape(r.Key), r => alpha * Share(r.Value));
        }

        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"# Suggested by 'ortqlora inspect --suggest' for {options.Model}; pass it with 'ortqlora train --config'.\n");
        text.Append(new SerializerBuilder().WithNewLine("\n").Build().Serialize(keys));
        if (double.IsFinite(advice.RecoveredByRanks))
        {
            text.Append(CultureInfo.InvariantCulture, $"# init-lora-weights: loftq   # starts with up to {advice.RecoveredByRanks:P1} of the squared int8 error made up for; the adapter then fits this int8 base only\n");
        }

        return text.ToString();
    }
}
