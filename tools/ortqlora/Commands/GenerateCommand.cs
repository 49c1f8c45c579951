using System.CommandLine;
using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Generation;
using OrtQLoRA.Trainer.Tokenizers;

namespace OrtQLoRA.Cli.Commands;

/// <summary><c>generate</c>: continues a prompt, given as text or as token ids.</summary>
internal static class GenerateCommand
{
    internal static Command Create(CommandContext context)
    {
        Option<string> model = new("--model") { Description = "ONNX decoder.", HelpName = "FILE" };
        Option<string> run = new("--run") { Description = "Run folder whose merged model generates.", HelpName = "FOLDER" };
        Option<string> tokenizer = new("--tokenizer") { Description = "Tokenizer file or folder; the run's by default.", HelpName = "PATH" };
        Option<string> prompt = new("--prompt") { Description = "Text to continue; empty for the beginning-of-sequence token alone.", HelpName = "TEXT" };
        Option<string> ids = new("--ids") { Description = "Token ids to continue, between commas, instead of text.", HelpName = "IDS" };
        Option<int> count = new("--max-new-tokens", "--max-tokens") { Description = "Most tokens to add.", HelpName = "N", DefaultValueFactory = _ => 128 };
        Option<double> temperature = new("--temperature") { Description = "0 always takes the most likely token.", HelpName = "T" };
        Option<int> topK = new("--top-k") { Description = "Choose among so many tokens; 0: all.", HelpName = "K" };
        Option<double> topP = new("--top-p") { Description = "Choose among the most likely tokens of this share.", HelpName = "P", DefaultValueFactory = _ => 1 };
        Option<int> seed = new("--seed") { Description = "Seed of the choice.", HelpName = "N" };
        Command command = new("generate", "Continue a prompt: greedy, or with temperature, top-k and top-p.")
        {
            model, run, tokenizer, prompt, ids, count, temperature, topK, topP, seed,
        };
        command.SetAction(result =>
        {
            using ModelSource source = ModelSource.Open(result.GetValue(model), result.GetValue(run));
            GenerationOptions options = new()
            {
                MaxNewTokens = result.GetValue(count),
                Temperature = result.GetValue(temperature),
                TopK = result.GetValue(topK),
                TopP = result.GetValue(topP),
                Seed = result.GetValue(seed),
            };
            options.Validate();
            string? tokenizerPath = result.GetValue(tokenizer) ?? source.RunOptions?.Tokenizer;
            using TextGenerator generator = new(source.Path);
            return result.GetValue(ids) is string list
                ? ContinueIds(context, generator, options, Ids(list), tokenizerPath)
                : ContinueText(context, generator, options, result.GetValue(prompt) ?? "", tokenizerPath);
        });
        return command;
    }

    private static int[] Ids(string list)
    {
        try
        {
            return [.. OptionText.Ints(list)];
        }
        catch (FormatException)
        {
            throw new ConfigurationException($"--ids is '{list}'; it must be whole numbers between commas, for example 1,15,27.");
        }
    }

    private static int ContinueIds(CommandContext context, TextGenerator generator, GenerationOptions options, int[] prompt, string? tokenizerPath)
    {
        GenerationResult result = generator.Generate(prompt, options);
        context.Output.WriteLine(string.Join(",", result.Ids));
        if (tokenizerPath is not null)
        {
            context.Output.WriteLine(TokenizerLoader.Load(tokenizerPath).Decode(prompt.Concat(result.Ids)));
        }

        return 0;
    }

    private static int ContinueText(CommandContext context, TextGenerator generator, GenerationOptions options, string text, string? tokenizerPath)
    {
        ITextTokenizer tokenizer = tokenizerPath is null
            ? throw new ConfigurationException("Text needs a tokenizer: pass --tokenizer, or token ids with --ids.")
            : TokenizerLoader.Load(tokenizerPath);
        int[] prompt = tokenizer.Encode(text);
        StreamingDecoder decoder = new(tokenizer, prompt);
        context.Output.Write(tokenizer.Decode(prompt));
        GenerationOptions stopping = options with { StopIds = tokenizer.SpecialTokens.EndOfSequence is int end ? [end] : [] };
        generator.Generate(prompt, stopping, id => context.Output.Write(decoder.Append(id)));
        context.Output.WriteLine(decoder.Finish());
        return 0;
    }
}
