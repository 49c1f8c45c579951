using System.CommandLine;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Serialization;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Generation;
using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>generate</c>: continues a prompt, given as text or as token ids.</summary>
internal static class GenerateCommand
{
    internal static Command Create(CommandContext context)
    {
        GenerationOptions defaults = new();
        Option<string> model = new("--model") { Description = "ONNX decoder, original or exported.", HelpName = "FILE" };
        Option<string> run = new("--run") { Description = "Run folder whose merged model generates.", HelpName = "FOLDER" };
        Option<string> tokenizer = new("--tokenizer") { Description = "Tokenizer file, or a folder that holds one; the run's by default.", HelpName = "PATH" };
        Option<string> prompt = new("--prompt") { Description = "Text to continue; the beginning-of-sequence token alone by default.", HelpName = "TEXT" };
        Option<string> ids = new("--ids", "--prompt-ids") { Description = "Token ids to continue, between commas, instead of text; ids come out.", HelpName = "IDS" };
        Option<int> count = new("--max-new-tokens", "--max-tokens")
        {
            Description = $"Most tokens to add; {defaults.MaxNewTokens} by default.",
            HelpName = "N",
            DefaultValueFactory = _ => defaults.MaxNewTokens,
        };
        Option<double> temperature = new("--temperature") { Description = "0 (default) always takes the likeliest token; higher leaves more to chance.", HelpName = "T" };
        Option<int> topK = new("--top-k") { Description = "Choose among so many of the likeliest tokens; 0 (default): all.", HelpName = "K" };
        Option<double> topP = new("--top-p")
        {
            Description = "Choose among the fewest tokens that have this probability together; 1 (default): all.",
            HelpName = "P",
            DefaultValueFactory = _ => defaults.TopP,
        };
        Option<int> seed = new("--seed") { Description = "Seed of the choice; 0 by default.", HelpName = "N" };
        Option<int?> contextLength = new("--context-length") { Description = "Longest sequence, where the model's files do not say.", HelpName = "TOKENS" };
        Option<bool> ignoreEos = new("--ignore-eos") { Description = "Go on after the end-of-sequence token." };
        Command command = new("generate", "Continue a prompt: greedy, or with temperature, top-k and top-p.")
        {
            model, run, tokenizer, prompt, ids, count, temperature, topK, topP, seed, contextLength, ignoreEos,
        };
        command.SetAction(result =>
        {
            using ModelSource source = ModelSource.Open(result.GetValue(model), result.GetValue(run));
            string? tokenizerPath = result.GetValue(tokenizer) ?? source.RunOptions?.Tokenizer ?? ModelFolder.Tokenizer(result.GetValue(model) ?? "");
            ITextTokenizer? loaded = tokenizerPath is null ? null : TokenizerLoader.Load(tokenizerPath);
            bool asIds = result.GetValue(ids) is not null;
            int[] start = asIds ? ParseIds(result.GetValue(ids)!, result.GetValue(prompt)) : Encode(loaded, result.GetValue(prompt) ?? "");
            GenerationOptions options = new()
            {
                MaxNewTokens = result.GetValue(count),
                Temperature = result.GetValue(temperature),
                TopK = result.GetValue(topK),
                TopP = result.GetValue(topP),
                Seed = result.GetValue(seed),
                StopIds = loaded is null || result.GetValue(ignoreEos) ? [] : StopIds(loaded),
            };
            options.Validate();
            using TextGenerator generator = new(source.Path);
            generator.ContextLength = result.GetValue(contextLength) ?? generator.ContextLength;
            GenerationResult generated = asIds
                ? WriteIds(context, generator, options, start, loaded)
                : WriteText(context, generator, options, start, loaded!);
            if (generated.FinishReason == FinishReason.ContextLength)
            {
                context.Error.WriteLine($"Ended at {start.Length + generated.Ids.Count} tokens: the model takes no longer sequence.");
            }

            return 0;
        });
        return command;
    }

    /// <summary>The ids at which a text ends: the end-of-sequence token, and the one that begins the next text.</summary>
    internal static IReadOnlyCollection<int> StopIds(ITextTokenizer tokenizer) =>
        [.. new[] { tokenizer.SpecialTokens.EndOfSequence, tokenizer.SpecialTokens.BeginningOfSequence }.OfType<int>()];

    private static GenerationResult WriteIds(
        CommandContext context, TextGenerator generator, GenerationOptions options, int[] prompt, ITextTokenizer? tokenizer)
    {
        GenerationResult result = generator.Generate(prompt, options);
        context.Output.WriteLine(string.Join(',', result.Ids));
        if (tokenizer is not null)
        {
            context.Output.WriteLine(tokenizer.Decode(prompt.Concat(result.Ids)));
        }

        return result;
    }

    private static GenerationResult WriteText(
        CommandContext context, TextGenerator generator, GenerationOptions options, int[] prompt, ITextTokenizer tokenizer)
    {
        StreamingDecoder decoder = new(tokenizer, prompt);
        context.Output.Write(tokenizer.Decode(prompt));
        GenerationResult result = generator.Generate(prompt, options, id =>
        {
            context.Output.Write(decoder.Append(id));
            context.Output.Flush();
        });
        context.Output.WriteLine(decoder.Finish());
        return result;
    }

    private static int[] Encode(ITextTokenizer? tokenizer, string text)
    {
        int[] ids = tokenizer?.Encode(text)
            ?? throw new ConfigurationException("Text needs a tokenizer: pass --tokenizer, or token ids with --ids.");
        return ids.Length > 0
            ? ids
            : throw new ConfigurationException("The prompt has no tokens, and the tokenizer puts none at the beginning; pass a --prompt.");
    }

    private static int[] ParseIds(string list, string? prompt)
    {
        if (prompt is not null)
        {
            throw new ConfigurationException("--prompt and --ids exclude each other; pass one.");
        }

        try
        {
            return [.. OptionText.Ints(list)];
        }
        catch (FormatException)
        {
            throw new ConfigurationException($"--ids is '{list}'; it must be whole numbers between commas, for example 1,15,27.");
        }
    }
}
