using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targeted;
using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Graph.Adapters.Ia3;

/// <summary>Options of (IA)3, named as in PEFT's <c>IA3Config</c>.</summary>
public sealed class Ia3Config : TargetedConfig
{
    private static readonly IReadOnlyDictionary<string, JsonNode?> Defaults = Keys(
        """{"exclude_modules": null, "fan_in_fan_out": false, "feedforward_modules": null, "init_ia3_weights": true, "target_modules": null}""");

    /// <inheritdoc/>
    public override string? PeftType => Ia3Method.Type;

    /// <summary>
    /// <c>feedforward_modules</c>: targets whose input is scaled instead of their output. Names match the bare end of a path,
    /// without regard to dots. Null takes the method's own choice.
    /// </summary>
    public ModuleSelector? FeedforwardModules { get; set; }

    /// <summary><c>init_ia3_weights</c>: whether the vectors start at one; otherwise standard normal.</summary>
    public bool InitializesToOne { get; set; } = true;

    /// <summary><c>fan_in_fan_out</c>: whether PyTorch holds the base weights [in, out]; null: written as found in the model.</summary>
    public bool? FanInFanOut { get; set; }

    /// <inheritdoc/>
    protected internal override IReadOnlyDictionary<string, JsonNode?> DefaultKeys => Defaults;

    internal static Ia3Config FromJson(JsonObject json, string source)
    {
        Ia3Config config = new();
        return Read(config, json, source, reader =>
        {
            config.FeedforwardModules = reader.Selector("feedforward_modules");
            config.InitializesToOne = reader.Flag("init_ia3_weights", true);
            config.FanInFanOut = reader.Node("fan_in_fan_out") is null ? null : reader.Flag("fan_in_fan_out", false);
        });
    }

    /// <inheritdoc/>
    protected override IEnumerable<KeyValuePair<string, JsonNode?>> OwnKeys() =>
    [
        Key("feedforward_modules", FeedforwardModules?.ToJson()),
        Key("init_ia3_weights", InitializesToOne),
        Key("fan_in_fan_out", FanInFanOut ?? false),
    ];
}
