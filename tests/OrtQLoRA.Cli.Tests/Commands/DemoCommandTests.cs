using OrtQLoRA.TestKit;
namespace OrtQLoRA.Cli.Tests.Commands;

[TestClass]
public sealed class DemoCommandTests
{
    [TestMethod]
    public void Demo_FewSteps_LearnsExportsAndVerifies()
    {
        using TemporaryFolder folder = new();
        string output = CommandLine.Succeed("demo", "--steps", "4", "--out", folder.File("run"));

        StringAssert.Contains(output, "LOG 12 Nov.");
        StringAssert.Contains(output, "relative L2");
        Assert.IsTrue(File.Exists(folder.File("run/merged.onnx")));
        Assert.IsTrue(File.Exists(folder.File("run/adapter/adapter_model.safetensors")));
        Assert.IsLessThan(Loss(output, 0), Loss(output, 1), output);
    }

    // The lines "... loss 3.456, ..." before and after.
    private static double Loss(string output, int index)
    {
        string[] lines = [.. output.Split('\n').Where(l => l.Contains("has not seen: loss ", StringComparison.Ordinal))];
        string number = lines[index].Split("loss ")[1].Split(',')[0];
        return double.Parse(number, System.Globalization.CultureInfo.InvariantCulture);
    }
}
