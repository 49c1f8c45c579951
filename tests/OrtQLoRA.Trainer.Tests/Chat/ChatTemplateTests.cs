using System.Text.Json;
using OrtQLoRA.TestKit;
using OrtQLoRA.Trainer.Chat;
using OrtQLoRA.Trainer.Chat.Jinja;

namespace OrtQLoRA.Trainer.Tests.Chat;

/// <summary>Templates as model families ship them, against the prompts that their documentation prints.</summary>
[TestClass]
public sealed class ChatTemplateTests
{
    private const string Conversation = """
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hi! "}, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Why?"}]
        """;

    private const string ChatMl = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    private const string Llama3 = "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

    private const string Qwen2 = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    private const string Mistral = "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}";

    private const string Gemma = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}";

    private const string Zephyr = """
        {% for message in messages %}
        {% if message['role'] == 'user' %}
        {{ '<|user|>
        ' + message['content'] + eos_token }}
        {% elif message['role'] == 'system' %}
        {{ '<|system|>
        ' + message['content'] + eos_token }}
        {% elif message['role'] == 'assistant' %}
        {{ '<|assistant|>
        '  + message['content'] + eos_token }}
        {% endif %}
        {% if loop.last and add_generation_prompt %}
        {{ '<|assistant|>' }}
        {% endif %}
        {% endfor %}
        """;

    [TestMethod]
    [DataRow("chatml", ChatMl, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi! <|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n")]
    [DataRow("llama 3", Llama3, "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi!<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n")]
    [DataRow("qwen2", Qwen2, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi! <|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n")]
    [DataRow("zephyr", Zephyr, "<|system|>\nBe brief.</s>\n<|user|>\n Hi! </s>\n<|assistant|>\nHello.</s>\n<|user|>\nWhy?</s>\n<|assistant|>\n")]
    public void Render_TemplatesOfFamilies_GivesTheirPrompts(string family, string template, string expected) =>
        Assert.AreEqual(expected, Parse(template).Render(Messages(Conversation), addGenerationPrompt: true).Text, family);

    [TestMethod]
    [DataRow("mistral", Mistral, "<s>[INST]  Hi!  [/INST]Hello.</s>[INST] Why? [/INST]")]
    [DataRow("gemma", Gemma, "<s><start_of_turn>user\nHi!<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n")]
    public void Render_TemplatesWithoutSystemRole_TakeTurnsOnly(string family, string template, string expected)
    {
        JsonElement[] messages = Messages(Conversation);
        Assert.AreEqual(expected, Parse(template).Render(messages[1..], addGenerationPrompt: true).Text, family);

        StringAssert.Contains(Assert.ThrowsExactly<JinjaException>(() => Parse(template).Render(messages)).Message, "refuses the conversation");
    }

    [TestMethod]
    public void Render_QwenWithoutSystemMessage_AddsItsOwn() =>
        StringAssert.StartsWith(Parse(Qwen2).Render(Messages(Conversation)[1..]).Text, "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n");

    [TestMethod]
    public void Render_GenerationTags_AreNoted()
    {
        ChatTemplate template = Parse("{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}");

        (string text, IReadOnlyList<(int Start, int End)> generated) = template.Render(Messages(Conversation));

        (int start, int end) = generated.Single();
        Assert.AreEqual("Hello.</s>", text[start..end]);
    }

    [TestMethod]
    public void Find_TokenizerConfig_TakesTemplateAndTokens()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer_config.json", JsonSerializer.Serialize(new
        {
            bos_token = new { content = "<bos>" },
            eos_token = "<eos>",
            chat_template = new[] { new { name = "default", template = "{{ bos_token }}{{ messages[0].content }}" }, new { name = "tool_use", template = "{{ tools | tojson }}{{ eos_token }}" } },
        }));

        JsonElement[] messages = Messages(Conversation);
        Assert.AreEqual("<bos>Be brief.", ChatTemplate.Find(folder.Path)!.Render(messages).Text);
        using JsonDocument tools = JsonDocument.Parse("[{\"name\": \"größe\", \"n\": 1.0}]");
        Assert.AreEqual("[{\"name\": \"größe\", \"n\": 1.0}]<eos>", ChatTemplate.Find(folder.Path, "tool_use")!.Render(messages, tools.RootElement).Text);
        StringAssert.Contains(Assert.ThrowsExactly<OrtQLoRA.Graph.ConfigurationException>(() => ChatTemplate.Find(folder.Path, "rag")).Message, "default, tool_use");
    }

    internal static ChatTemplate Parse(string template) => ChatTemplate.Parse(template, new Dictionary<string, string> { ["bos_token"] = "<s>", ["eos_token"] = "</s>" });

    private static JsonElement[] Messages(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return [.. document.RootElement.Clone().EnumerateArray()];
    }
}
