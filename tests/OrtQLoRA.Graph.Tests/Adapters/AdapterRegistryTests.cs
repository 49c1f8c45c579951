using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Lora;

namespace OrtQLoRA.Graph.Tests.Adapters;

[TestClass]
public sealed class AdapterRegistryTests
{
    [TestMethod]
    public void Default_EveryMethodOfTheAssembly_IsRegistered()
    {
        string[] methods = [.. typeof(IAdapterMethod).Assembly.GetTypes()
            .Where(t => !t.IsAbstract && t.IsAssignableTo(typeof(IAdapterMethod)))
            .Select(t => ((IAdapterMethod)Activator.CreateInstance(t)!).Name)];

        CollectionAssert.AreEquivalent(methods, AdapterRegistry.Default.Names.ToArray());
    }

    [TestMethod]
    public void Get_UnknownNames_ListTheKnown()
    {
        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => AdapterRegistry.Default.Get("dora2")).Message, "full, hra, ia3");
        StringAssert.Contains(Assert.ThrowsExactly<ConfigurationException>(() => AdapterRegistry.Default.GetByPeftType("XLORA", "file")).Message, "LORA");
        Assert.ThrowsExactly<ArgumentException>(() => new AdapterRegistry().Add(new LoraMethod()).Add(new LoraMethod()));
    }
}
