using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Evaluation.Kernels;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.NodeRunner;

namespace OrtQLoRA.Graph.Tests.Evaluation;

[TestClass]
public sealed class ElementwiseKernelTests
{
    [TestMethod]
    public void Add_BroadcastsBothWays_GivesTable() =>
        AreEqual(F([2, 3], 11, 12, 13, 21, 22, 23), Run("Add", [F([3], 1, 2, 3), F([2, 1], 10, 20)]));

    [TestMethod]
    public void Add_ShapesThatDoNotFit_NamesThem()
    {
        GraphException e = Assert.ThrowsExactly<GraphException>(() => Run("Add", [F([3], 1, 2, 3), F([2], 10, 20)]));
        StringAssert.Contains(e.Message, "[3] and [2]");
        StringAssert.Contains(e.Message, "'node'");
    }

    [TestMethod]
    public void Add_DifferentTypes_AsksForCast() =>
        StringAssert.Contains(Assert.ThrowsExactly<GraphException>(() => Run("Add", [F([1], 1), I([1], 1)])).Message, "Cast");

    [TestMethod]
    public void Mul_ZeroSizedBroadcast_IsEmpty() => AreEqual(F([2, 0]), Run("Mul", [F([2, 0]), F([1], 3)]));

    [TestMethod]
    public void Div_Integers_TruncatesTowardsZero() => AreEqual(I([4], 3, -3, -3, 3), Run("Div", [I([4], 7, -7, 7, -7), I([4], 2, 2, -2, -2)]));

    [TestMethod]
    public void Div_IntegerByZero_IsNamedError() =>
        StringAssert.Contains(Assert.ThrowsExactly<GraphException>(() => Run("Div", [I([1], 1), I([1], 0)])).Message, "divided by zero");

    [TestMethod]
    public void Mod_SignFollowsDivisorOrDividend()
    {
        (ReferenceTensor a, ReferenceTensor b) = (I([4], 7, -7, 7, -7), I([4], 3, 3, -3, -3));
        AreEqual(I([4], 1, 2, -2, -1), Run("Mod", [a, b]));
        AreEqual(I([4], 1, -1, 1, -1), Run("Mod", [a, b], ("fmod", 1)));
    }

    [TestMethod]
    public void Add_NarrowIntegers_Wrap() => AreEqual(
        ReferenceTensor.OfIntegers(DataType.Int8, [1], -126),
        Run("Add", [ReferenceTensor.OfIntegers(DataType.Int8, [1], 127), ReferenceTensor.OfIntegers(DataType.Int8, [1], 3)]));

    [TestMethod]
    public void Less_UnsignedBeyondInt64_ComparesUnsigned() => AreEqual(
        B([1], true),
        Run("Less", [ReferenceTensor.OfIntegers(DataType.UInt64, [1], 1), ReferenceTensor.OfIntegers(DataType.UInt64, [1], -1)]));

    [TestMethod]
    public void Pow_IntegerExponentOfFloatBase_KeepsBaseType() => AreEqual(F([3], 1, 4, 9), Run("Pow", [F([3], 1, -2, 3), I([], 2)]));

    [TestMethod]
    public void Clip_OnlyUpperBound_LeavesTheRest() => AreEqual(F([3], -5, 0, 2), Run("Clip", [F([3], -5, 0, 5), null, F([], 2)]));

    [TestMethod]
    public void Where_BroadcastsAllThree() =>
        AreEqual(F([2, 2], 1, 7, 2, 7), Run("Where", [B([2], true, false), F([2, 1], 1, 2), F([], 7)]));

    [TestMethod]
    public void Max_NaN_Passes() => AreEqual(F([2], double.NaN, 3), Run("Max", [F([2], double.NaN, 2), F([2], 1, 3)]));

    [TestMethod]
    public void Round_Halves_GoToEven() => AreEqual(F([4], -2, 0, 2, 2), Run("Round", [F([4], -1.5, 0.5, 1.5, 2.5)]));

    [TestMethod]
    public void Softplus_LargeArguments_DoNotOverflow() => AreEqual(F([2], 1000, 0), Run("Softplus", [F([2], 1000, -1000)]));

    [TestMethod]
    public void Cast_FloatToInt_TruncatesAndBoolIsNonZero()
    {
        AreEqual(I([3], -1, 0, 1), Run("Cast", [F([3], -1.9, 0.9, 1.9)], ("to", (long)DataType.Int64)));
        AreEqual(B([3], true, false, true), Run("Cast", [F([3], -0.5, 0, double.NaN)], ("to", (long)DataType.Bool)));
    }

    /// <summary>
    /// erf(x) = 2 / sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!; all terms positive, so 28-digit decimals give
    /// a reference good beyond double precision.
    /// </summary>
    [TestMethod]
    public void Erf_WholeRange_IsWithinOneUlpOfSeries()
    {
        const decimal TwoOverSqrtPi = 1.1283791670955125738961589031m;
        double worst = 0;
        for (decimal x = 0.001m; x < 4.5m; x += 0.0137m)
        {
            decimal term = x;
            decimal sum = x;
            for (int n = 1; term > sum * 1e-28m; n++)
            {
                term *= 2 * x * x / ((2 * n) + 1);
                sum += term;
            }

            decimal exponential = 1;
            term = 1;
            for (int n = 1; term > exponential * 1e-28m; n++)
            {
                term *= x * x / n;
                exponential += term;
            }

            double expected = (double)(TwoOverSqrtPi * sum / exponential);
            worst = Math.Max(worst, Math.Abs(ErrorFunction.Erf((double)x) - expected) / expected);
            Assert.AreEqual(-ErrorFunction.Erf((double)x), ErrorFunction.Erf(-(double)x));
        }

        Assert.IsLessThan(4e-16, worst);
        Assert.AreEqual(1, ErrorFunction.Erf(double.PositiveInfinity));
        Assert.AreEqual(0, ErrorFunction.Erf(0));
    }
}
