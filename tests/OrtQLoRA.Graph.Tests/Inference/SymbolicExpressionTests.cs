using OrtQLoRA.Graph.Inference;

namespace OrtQLoRA.Graph.Tests.Inference;

[TestClass]
public sealed class SymbolicExpressionTests
{
    [TestMethod]
    [DataRow("b*a", "a*b")]
    [DataRow("a + a", "2*a")]
    [DataRow("a - a", "0")]
    [DataRow("(a + 1)*(a - 1)", "a*a - 1")]
    [DataRow("past_sequence_length + sequence_length", "past_sequence_length + sequence_length")]
    [DataRow("sequence_length + past_sequence_length", "past_sequence_length + sequence_length")]
    [DataRow("1 + past", "past + 1")]
    [DataRow("-a + 2", "-a + 2")]
    [DataRow("floor((4*s + 6)/4)", "s + 1")]
    [DataRow("floor((4*s + 7*t)/4)", "floor((3*t)/4) + s + t")]
    [DataRow("s33//2", "floor(s33/2)")]
    [DataRow("floor((384*a)/(32*b))", "floor((12*a)/b)")]
    [DataRow("max(0, floor(a/b))", "floor(a/b)")]
    [DataRow("floor((2*s)/2)", "s")]
    [DataRow("floor((a*b)/b)", "a")]
    [DataRow("min(512, s)", "min(512, s)")]
    [DataRow("min(s, s + 1)", "s")]
    [DataRow("max(0, s)", "s")]
    [DataRow("max(0, s - 1)", "max(0, s - 1)")]
    [DataRow("min(a, b, a, min(b, 3))", "min(3, a, b)")]
    [DataRow("broadcast(b, a)", "broadcast(a, b)")]
    [DataRow("broadcast(a, broadcast(b, a))", "broadcast(a, b)")]
    [DataRow("broadcast(a, a)", "a")]
    [DataRow("broadcast(a, 1)", "a")]
    [DataRow("broadcast(a, 7)", "7")]
    [DataRow("broadcast(s, min(512, s))", "s")]
    [DataRow("{batch size} * 2", "2*{batch size}")]
    [DataRow("{odd \\} name}", "{odd \\} name}")]
    [DataRow("{plain}", "plain")]
    public void Parse_Expression_PrintsCanonically(string text, string expected)
    {
        SymbolicExpression? parsed = SymbolicSyntax.Parse(text);
        Assert.AreEqual(expected, parsed?.ToString());
        Assert.AreEqual(expected, SymbolicSyntax.Parse(expected)?.ToString(), "the canonical text must be a fixed point");
    }

    [TestMethod]
    [DataRow("")]
    [DataRow("a b")]
    [DataRow("/model/dim")]
    [DataRow("a +")]
    [DataRow("floor(s/2 + 1)")]
    [DataRow("cbrt(s)")]
    [DataRow("12abc")]
    [DataRow("(a")]
    [DataRow("{a")]
    [DataRow("99999999999999999999")]
    public void Parse_NoExpression_ReturnsNull(string text) => Assert.IsNull(SymbolicSyntax.Parse(text));

    [TestMethod]
    public void Parse_DeepNesting_ReturnsNull() => Assert.IsNull(SymbolicSyntax.Parse(new string('(', 10_000) + "a"));

    [TestMethod]
    [DataRow("a*b*4", "2*b", "2*a")]
    [DataRow("a*a - b*b", "a + b", "a - b")]
    [DataRow("6", "3", "2")]
    [DataRow("a", "b", null)]
    [DataRow("3*a", "2", null)]
    [DataRow("a", "0", null)]
    [DataRow("a + 1", "a", null)]
    public void DivideExactly_Polynomials_QuotientOrNull(string dividend, string divisor, string? expected) =>
        Assert.AreEqual(expected, SymbolicExpression.DivideExactly(SymbolicSyntax.Parse(dividend), SymbolicSyntax.Parse(divisor))?.ToString());

    [TestMethod]
    public void FloorDivide_DivisorPerhapsNegative_IsUnknown() =>
        Assert.IsNull(SymbolicExpression.FloorDivide(SymbolicSyntax.Parse("a"), SymbolicSyntax.Parse("b - 1")));

    [TestMethod]
    [DataRow("a + 3", 3L, null)]
    [DataRow("a - 3", -3L, null)]
    [DataRow("2 - a", null, 2L)]
    [DataRow("min(a, 5)", 0L, 5L)]
    [DataRow("2*max(3, a) - min(a, 4)", 2L, null)]
    public void Bounds_Expression_AreThoseOfNonNegativeSymbols(string text, long? lower, long? upper)
    {
        SymbolicExpression expression = SymbolicSyntax.Parse(text)!;
        Assert.AreEqual(lower, expression.LowerBound);
        Assert.AreEqual(upper, expression.UpperBound);
    }

    [TestMethod]
    public void Arithmetic_Overflow_IsUnknown()
    {
        SymbolicExpression large = SymbolicExpression.Of(long.MaxValue);
        Assert.IsNull(large * large);
        Assert.IsNull(large + SymbolicExpression.One);
        Assert.IsNull(-SymbolicExpression.Of(long.MinValue));
        Assert.IsNull(SymbolicExpression.DivideExactly(SymbolicExpression.Of(long.MinValue), SymbolicExpression.Of(-1)));
    }

    [TestMethod]
    public void Arithmetic_GrowingWithoutEnd_BecomesUnknown()
    {
        SymbolicExpression? sum = SymbolicExpression.Zero;
        for (int i = 0; i < 100; i++)
        {
            sum += SymbolicExpression.Symbol($"s{i}");
        }

        Assert.IsNull(sum);
    }

    [TestMethod]
    public void Evaluate_AllFunctions_FollowsTheNumbers()
    {
        Dictionary<string, long?> values = new() { ["a"] = 7, ["b"] = 1, ["{c d}"] = 3 };
        SymbolicExpression expression = SymbolicSyntax.Parse("floor(a/2)*{c d} + min(a, 4) - max(a, b) + broadcast(a, b)")!;
        Assert.AreEqual((3 * 3) + 4 - 7 + 7, expression.Evaluate(values.GetValueOrDefault));
        Assert.IsNull(expression.Evaluate(name => name == "a" ? 7 : null));
        CollectionAssert.AreEquivalent(new[] { "a", "b", "{c d}" }, expression.Symbols.ToArray());
    }
}
