using System.Text.Json;
using System.Text.Json.Nodes;
using OrtQLoRA.Graph.Adapters.Targets;

namespace OrtQLoRA.Trainer.Configuration;

/// <summary>Settings of single adapter methods: each is a key of PEFT's configuration under a flag's name.</summary>
internal static class MethodOptionCatalog
{
    /// <summary>All of them.</summary>
    internal static IReadOnlyList<TrainingOption> All { get; } =
    [
        Flag("use_dora", "LoRA: train magnitudes apart (DoRA)."),
        Flag("lora_bias", "LoRA: B has a bias."),
        Numbers("trainable_token_indices", "LoRA: tokens whose embedding rows are trained."),
        Nested("loftq-bits", "loftq_config", "loftq_bits", "LoRA: bits of LoftQ's rounding (4: nf4)."),
        Nested("loftq-iter", "loftq_config", "loftq_iter", "LoRA: alternations of LoftQ; 1 by default."),
        Nested("eva-rho", "eva_config", "rho", "LoRA: how many times the rank EVA may give a layer; 2 by default."),
        Nested("corda-method", "corda_config", "corda_method", "LoRA: kpm (least important directions) or ipm; ipm by default.", "kpm|ipm"),
        Names("feedforward_modules", "(IA)3: targets whose input is scaled."),
        Whole("projection_prng_key", "VeRA: seed of the shared projections."),
        Toggle("save_projection", "VeRA: write the projections; true by default."),
        Real("d_initial", "VeRA: first value of the inner vector; 0.1 by default."),
        Flag("decompose_both", "LoKr: decompose the left factor too."),
        Whole("decompose_factor", "LoKr: how dimensions are split; -1 (near the square root) by default."),
        Toggle("init_weights", "LoHa, LoKr, VeRA, OFT, BOFT, HRA: start without effect (true) or at random; LoKr also lycoris."),
        Whole("oft_block_size", "OFT: size of a block; 32 by default."),
        Toggle("use_cayley_neumann", "OFT: the series instead of the exact transform; true by default."),
        Whole("num_cayley_neumann_terms", "OFT: terms of the series; 5 by default."),
        Flag("coft", "OFT: keep blocks near the identity."),
        Real("eps", "OFT: how far blocks may go with --coft; 6e-5 by default.", "coft-eps"),
        Flag("block_share", "OFT: one block for the whole layer."),
        Whole("boft_block_size", "BOFT: size of a block; 4 by default."),
        Whole("boft_block_num", "BOFT: number of blocks instead of their size."),
        Flag("apply_GS", "HRA: make the vectors orthogonal.", "apply-gs"),
        Whole("init_r", "AdaLoRA: rank at the start; 12 by default."),
        Whole("target_r", "AdaLoRA: mean rank at the end; 8 by default."),
        Whole("tinit", "AdaLoRA: steps before ranks fall."),
        Whole("tfinal", "AdaLoRA: steps at the end with fixed ranks."),
        Whole("deltaT", "AdaLoRA: steps between two allocations; 1 by default.", "delta-t"),
        Real("beta1", "AdaLoRA: averaging of importance; 0.85 by default.", "adalora-beta1"),
        Real("beta2", "AdaLoRA: averaging of its uncertainty; 0.85 by default.", "adalora-beta2"),
        Real("orth_reg_weight", "AdaLoRA: weight of the orthogonality term; 0.5 by default."),
        Whole("num_virtual_tokens", "Prompt and prefix tuning: positions in front of the text; 20 by default."),
        Numbers("token_indices", "Trainable tokens: whose embedding rows are trained."),
        new("method-option", "KEY=VALUE,...", "Any key of PEFT's configuration of the method, values as JSON.", ApplyAny, _ => null),
    ];

    private static TrainingOption Flag(string key, string description, string? name = null) =>
        new(name ?? NameOf(key), null, description, (o, t) => o.MethodOptions[key] = OptionText.Bool(t), o => Read(o, key));

    private static TrainingOption Toggle(string key, string description) =>
        new(NameOf(key), "true|false", description, (o, t) => o.MethodOptions[key] = t == "lycoris" ? t : OptionText.Bool(t), o => Read(o, key));

    private static TrainingOption Whole(string key, string description, string? name = null) =>
        new(name ?? NameOf(key), "N", description, (o, t) => o.MethodOptions[key] = OptionText.Int(t), o => Read(o, key));

    private static TrainingOption Real(string key, string description, string? name = null) =>
        new(name ?? NameOf(key), "X", description, (o, t) => o.MethodOptions[key] = OptionText.Double(t), o => Read(o, key));

    private static TrainingOption Numbers(string key, string description) =>
        new(NameOf(key), "NUMBERS", description, (o, t) => o.MethodOptions[key] = new JsonArray([.. OptionText.Ints(t).Select(n => (JsonNode)n)]), o => Read(o, key));

    private static TrainingOption Names(string key, string description) =>
        new(NameOf(key), "NAMES", description, (o, t) => o.MethodOptions[key] = ModuleSelector.Parse(t).ToJson(), o => Read(o, key));

    // One value of an object of PEFT's configuration.
    private static TrainingOption Nested(string name, string key, string inner, string description, string value = "N") => new(
        name,
        value,
        description,
        (o, t) =>
        {
            JsonObject table = o.MethodOptions.TryGetValue(key, out JsonNode? known) && known is JsonObject present ? present : [];
            table[inner] = value == "N" ? OptionText.Double(t) is var number && number == Math.Truncate(number) ? (long)number : number : t;
            o.MethodOptions[key] = table;
        },
        o => (o.MethodOptions.TryGetValue(key, out JsonNode? known) ? known as JsonObject : null)?[inner]?.DeepClone());

    // Values are JSON; what is none is a text.
    private static void ApplyAny(TrainingOptions options, string text)
    {
        foreach ((string key, string value) in OptionText.Pairs(text, t => t))
        {
            try
            {
                options.MethodOptions[key] = JsonNode.Parse(value);
            }
            catch (JsonException)
            {
                options.MethodOptions[key] = value;
            }
        }
    }

    private static JsonNode? Read(TrainingOptions options, string key) => options.MethodOptions.TryGetValue(key, out JsonNode? value) ? value?.DeepClone() : null;

    private static string NameOf(string key) => key.Replace('_', '-').ToLowerInvariant();
}
