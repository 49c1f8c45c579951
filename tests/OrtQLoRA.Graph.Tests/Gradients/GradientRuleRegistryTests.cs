using OrtQLoRA.Graph.Gradients;

namespace OrtQLoRA.Graph.Tests.Gradients;

[TestClass]
public sealed class GradientRuleRegistryTests
{
    [TestMethod]
    public void Add_OperatorTwice_Throws()
    {
        GradientRuleRegistry rules = new GradientRuleRegistry().Add("Abs", c => []);
        StringAssert.Contains(Assert.ThrowsExactly<ArgumentException>(() => rules.Add("Abs", c => [], "ai.onnx")).Message, "'Abs' has a gradient rule already");
    }

    [TestMethod]
    public void Add_NonDifferentiableOperator_Throws() => StringAssert.Contains(
        Assert.ThrowsExactly<ArgumentException>(() => new GradientRuleRegistry().Add("ArgMax", c => [])).Message, "non-differentiable");

    [TestMethod]
    public void Add_EmptyName_Throws() => Assert.ThrowsExactly<ArgumentException>(() => new GradientRuleRegistry().Add(" ", c => []));

    [TestMethod]
    public void Get_UnknownOperator_ListsThoseOfItsDomain()
    {
        GradientRuleRegistry rules = new GradientRuleRegistry().Add("Abs", c => []).Add("FastGelu", c => [], "com.microsoft");
        Assert.AreEqual(
            "No gradient rule for 'Gelu' of domain 'com.microsoft'. Rules of domain 'com.microsoft': FastGelu.",
            Assert.ThrowsExactly<KeyNotFoundException>(() => rules.Get("Gelu", "com.microsoft")).Message);
    }

    [TestMethod]
    public void CreateDefault_Rules_AreDisjointFromNonDifferentiableOperators() =>
        Assert.IsFalse(GradientRuleRegistry.CreateDefault().Operators.Any(o => NonDifferentiableOps.Contains(o.OpType, o.Domain)));
}
