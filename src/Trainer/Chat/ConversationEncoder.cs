using System.Text.Json;
using OrtQLoRA.Trainer.Chat.Jinja;
using OrtQLoRA.Trainer.Configuration;
using OrtQLoRA.Trainer.Data;

namespace OrtQLoRA.Trainer.Chat;

/// <summary>
/// Turns conversations into token ids, with labels for the assistant's turns: what the template marks as generated, or else
/// what each turn adds to the text that asks for it.
/// </summary>
internal sealed class ConversationEncoder
{
    private readonly DataRequirements _requirements;
    private readonly TextEncoder _encoder;

    internal ConversationEncoder(DataRequirements requirements, TextEncoder encoder)
    {
        _requirements = requirements;
        _encoder = encoder;
    }

    /// <summary>Encodes a conversation.</summary>
    /// <param name="record">For messages.</param>
    /// <param name="prompt">Messages; all of them, if there is no completion.</param>
    /// <param name="completion">Messages of the completion, or an undefined element.</param>
    internal EncodedText Encode(DataRecord record, JsonElement prompt, JsonElement completion)
    {
        ChatTemplate template = _requirements.ChatTemplate ?? throw record.Error(
            "the line holds a conversation, but the tokenizer has no chat template: pass --chat-template with a Jinja file, or write \"text\" instead.");
        JsonElement[] first = Messages(record, prompt);
        JsonElement[] last = completion.ValueKind == JsonValueKind.Undefined ? [] : Messages(record, completion);
        JsonElement[] all = [.. first, .. last];
        JsonElement? tools = record.Structure("tools");
        try
        {
            (string text, IReadOnlyList<(int Start, int End)> generated) = template.Render(all, tools);
            return _encoder.EncodeTemplated(text, Counted(record, template, all, tools, text, generated, last.Length > 0 ? first.Length : null), record.Source);
        }
        catch (JinjaException e)
        {
            throw new TrainingDataException(record.Source, e.Message, e);
        }
    }

    private IReadOnlyList<(int Start, int End)>? Counted(
        DataRecord record, ChatTemplate template, JsonElement[] all, JsonElement? tools, string text, IReadOnlyList<(int Start, int End)> generated, int? promptLength)
    {
        if (_requirements.LossOn == LossTokens.All || _requirements.Task != TrainingTask.CausalLm)
        {
            return null;
        }

        if (promptLength is int length)
        {
            return [(PrefixLength(template, all[..length], tools, text, true), text.Length)];
        }

        int[] turns = [.. Enumerable.Range(0, all.Length).Where(i => IsAssistant(all[i]))];
        if (turns.Length == 0)
        {
            throw record.Error("the conversation has no message of the role \"assistant\", so that nothing is learnt from it; --loss-on all learns every message.");
        }

        if (_requirements.LossOn == LossTokens.Completion)
        {
            turns = turns[^1..];
        }
        else if (generated.Count > 0)
        {
            return generated;
        }

        return [.. turns.Select(i => (PrefixLength(template, all[..i], tools, text, true), i == all.Length - 1 ? text.Length : PrefixLength(template, all[..(i + 1)], tools, text, false)))];
    }

    /// <summary>How much of the whole text is that of the first messages: templates may write what comes before the last turn differently.</summary>
    private static int PrefixLength(ChatTemplate template, JsonElement[] messages, JsonElement? tools, string text, bool addGenerationPrompt)
    {
        if (messages.Length == 0)
        {
            return 0;
        }

        string prefix = template.Render(messages, tools, addGenerationPrompt).Text;
        return prefix.AsSpan().CommonPrefixLength(text);
    }

    private static bool IsAssistant(JsonElement message) => message.GetProperty("role").GetString() is "assistant" or "model";

    private static JsonElement[] Messages(DataRecord record, JsonElement messages)
    {
        if (messages.ValueKind != JsonValueKind.Array || messages.GetArrayLength() == 0)
        {
            throw record.Error("a conversation must be a list of messages, for example [{\"role\": \"user\", \"content\": \"...\"}, {\"role\": \"assistant\", \"content\": \"...\"}].");
        }

        int number = 0;
        foreach (JsonElement message in messages.EnumerateArray())
        {
            if (message.ValueKind != JsonValueKind.Object || !message.TryGetProperty("role", out JsonElement role) || role.ValueKind != JsonValueKind.String)
            {
                throw record.Error($"message {number} has no \"role\"; each message is an object with \"role\" and \"content\".");
            }

            if (!message.TryGetProperty("content", out _) && !message.TryGetProperty("tool_calls", out _))
            {
                throw record.Error($"message {number} has no \"content\"; each message is an object with \"role\" and \"content\".");
            }

            number++;
        }

        return [.. messages.EnumerateArray()];
    }
}
