using OrtQLoRA.Graph;
using OrtQLoRA.Trainer.Engines;

namespace OrtQLoRA.Trainer.Tests.Engines;

[TestClass]
public sealed class ExecutionDeviceTests
{
    [TestMethod]
    [DataRow("cpu", false, 0, "cpu")]
    [DataRow("CUDA", true, 0, "cuda")]
    [DataRow("cuda:0", true, 0, "cuda")]
    [DataRow(" cuda:3 ", true, 3, "cuda:3")]
    public void Parse_KnownDevice_IsReadAndWrittenBack(string text, bool isCuda, int index, string expected)
    {
        ExecutionDevice device = ExecutionDevice.Parse(text);

        Assert.AreEqual(isCuda, device.IsCuda);
        Assert.AreEqual(index, device.Index);
        Assert.AreEqual(expected, device.ToString());
    }

    [TestMethod]
    [DataRow("gpu")]
    [DataRow("")]
    [DataRow("cuda:")]
    [DataRow("cuda:-1")]
    [DataRow("cuda:1:2")]
    [DataRow("cpu:1")]
    public void Parse_UnknownDevice_IsRefusedWithTheForms(string text) =>
        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => ExecutionDevice.Parse(text)).Message, "cuda:N");
}
