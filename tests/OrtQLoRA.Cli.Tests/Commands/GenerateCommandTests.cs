using OrtQLoRA.TestKit;

namespace OrtQLoRA.Cli.Tests.Commands;

[TestClass]
public sealed class GenerateCommandTests
{
    private static string Model => Fixtures.Require("models/aidreams260k.onnx");

    private static string Tokenizer => Fixtures.Require("tokenizers/aidreams_tok512.bin");

    [TestMethod]
    public void Generate_TextPrompt_ContinuesIt()
    {
        string output = CommandLine.Succeed("generate", "--model", Model, "--tokenizer", Tokenizer, "--prompt", "The light", "--max-new-tokens", "20");

        StringAssert.StartsWith(output, "The light");
        Assert.IsGreaterThan("The light".Length + 20, output.Trim().Length);
    }

    [TestMethod]
    public void Generate_Ids_PrintsTheAddedIdsAndTheText()
    {
        string output = CommandLine.Succeed("generate", "--model", Model, "--ids", "1,300,301", "--max-new-tokens", "5");
        string withText = CommandLine.Succeed("generate", "--model", Model, "--ids", "1,300,301", "--max-new-tokens", "5", "--tokenizer", Tokenizer);

        Assert.HasCount(5, output.Trim().Split(','));
        StringAssert.StartsWith(withText, output.Trim());
        Assert.HasCount(2, withText.Trim().Split('\n'));
    }

    [TestMethod]
    public void Generate_SameSeed_GivesTheSameText()
    {
        string[] arguments = ["generate", "--model", Model, "--tokenizer", Tokenizer, "--prompt", "A dream", "--temperature", "0.9", "--top-k", "40", "--top-p", "0.95"];

        Assert.AreEqual(CommandLine.Succeed([.. arguments, "--seed", "5"]), CommandLine.Succeed([.. arguments, "--seed", "5"]));
        Assert.AreNotEqual(CommandLine.Succeed([.. arguments, "--seed", "5"]), CommandLine.Succeed([.. arguments, "--seed", "6"]));
    }

    [TestMethod]
    public void Generate_ContextLength_EndsThereAndSaysSo()
    {
        (int code, string output, string error) = CommandLine.Run("generate", "--model", Model, "--ids", "1,300", "--context-length", "6");

        Assert.AreEqual(0, code, error);
        Assert.HasCount(4, output.Trim().Split(','));
        StringAssert.Contains(error, "6 tokens");
    }

    [TestMethod]
    [DataRow("--tokenizer", "--prompt", "x")]
    [DataRow("exclude", "--prompt", "x", "--ids", "1")]
    [DataRow("'one'", "--ids", "one")]
    [DataRow("Temperature", "--ids", "1", "--temperature", "-1")]
    [DataRow("9999", "--ids", "9999")]
    [DataRow("--top-k", "--ids", "1", "--top-k", "many")]
    public void Generate_BadInput_IsExplained(string fault, params string[] arguments)
    {
        StringAssert.Contains(CommandLine.Fail(["generate", "--model", Model, .. arguments]), fault);
    }
}
