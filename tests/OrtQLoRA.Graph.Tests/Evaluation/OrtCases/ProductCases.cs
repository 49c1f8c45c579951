using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.IR;
using static OrtQLoRA.Graph.Tests.Evaluation.OrtCases.Draw;

namespace OrtQLoRA.Graph.Tests.Evaluation.OrtCases;

internal static class ProductCases
{
    public static IEnumerable<OrtCase> All() => [.. MatMuls(), .. Gemms(), .. Einsums(), .. Quantized()];

    private static IEnumerable<OrtCase> MatMuls()
    {
        (long[] A, long[] B)[] shapes =
        [
            ([3, 4], [4, 5]), ([4], [4]), ([4], [4, 5]), ([3, 4], [4]), ([2, 3, 4], [4, 5]), ([2, 1, 3, 4], [5, 4, 2]), ([4], [2, 4, 3]),
            ([2, 3, 4], [4]), ([1, 1], [1, 1]), ([0, 4], [4, 5]), ([3, 0], [0, 5]), ([2, 0, 4], [4, 3]), ([3, 4], [4, 0]),
        ];
        foreach ((long[] a, long[] b) in shapes)
        {
            yield return new("MatMul", [Floats(a), Floats(b, seed: 2)]);
            yield return new("MatMul", [Floats(DataType.Double, a), Floats(DataType.Double, b, seed: 2)]) { Tolerance = 1e-13 };
            yield return new("MatMul", [Int64(a), Int64(b, seed: 2)]);
        }
    }

    private static IEnumerable<OrtCase> Gemms()
    {
        foreach (long transA in new long[] { 0, 1 })
        {
            foreach (long transB in new long[] { 0, 1 })
            {
                ReferenceTensor a = Floats(transA == 0 ? [3, 4] : [4, 3]);
                ReferenceTensor b = Floats(transB == 0 ? [4, 5] : [5, 4], seed: 2);
                foreach (long[]? bias in new[] { null, [5], [], [3, 1], [3, 5], new long[] { 1, 5 } })
                {
                    yield return new(
                        "Gemm", [a, b, bias is null ? null : Floats(bias, seed: 3)], ("transA", transA), ("transB", transB), ("alpha", 0.5f), ("beta", 2f))
                    { Note = $"{transA}{transB}" };
                }
            }
        }

        yield return new("Gemm", [Floats([0, 4]), Floats([4, 5]), Floats([5])]);
        yield return new("Gemm", [Floats([3, 0]), Floats([0, 5]), Floats([5])]);
    }

    private static IEnumerable<OrtCase> Einsums()
    {
        (string Equation, long[][] Shapes)[] cases =
        [
            ("ij,jk->ik", [[2, 3], [3, 4]]), ("ij,jk", [[2, 3], [3, 4]]), ("ij->ji", [[2, 3]]), ("ii->i", [[3, 3]]), ("ij->", [[2, 3]]),
            ("bhqd,bhkd->bhqk", [[2, 2, 3, 4], [2, 2, 5, 4]]), ("...ij,...jk->...ik", [[2, 1, 3, 4], [2, 5, 4, 2]]), ("i,i->", [[4], [4]]),
            ("i,j->ij", [[3], [4]]), ("bi,ij,bj->b", [[2, 3], [3, 4], [2, 4]]), ("b i , i j -> b j", [[2, 3], [3, 4]]), ("...i->...", [[2, 3, 4]]),
            ("ba,bc", [[2, 3], [2, 4]]), ("bij,bij->b", [[2, 3, 4], [2, 3, 4]]), ("i...->...i", [[2, 3, 4]]),
        ];
        foreach ((string equation, long[][] shapes) in cases)
        {
            yield return new("Einsum", [.. shapes.Select((s, i) => Floats(s, seed: i + 1))], ("equation", equation)) { Note = equation };
        }
    }

    private static IEnumerable<OrtCase> Quantized()
    {
        ReferenceTensor x = Floats([3, 4], -300, 300);
        foreach (DataType type in new[] { DataType.Int8, DataType.UInt8, DataType.Int16, DataType.UInt16 })
        {
            ReferenceTensor zero = Scalar(3, type);
            yield return new("QuantizeLinear", [x, Scalar(1.5), zero]) { Note = type.OnnxName() };
            yield return new("DequantizeLinear", [Integers(type, [3, 4], 0, 100), Scalar(1.5), zero]);
        }

        yield return new("QuantizeLinear", [x, Scalar(2.0)]);
        yield return new("QuantizeLinear", [NodeRunner.F([6], -2.5, -1.5, -0.5, 0.5, 1.5, 2.5), Scalar(1.0), Scalar(0, DataType.Int8)]) { Note = "halves" };
        yield return new("QuantizeLinear", [x, Scalar(2.0)], ("output_dtype", (long)DataType.Int8));
        yield return new("QuantizeLinear", [x, Floats([4], 0.5, 3, 2), Integers(DataType.Int8, [4], seed: 2)]);
        yield return new("QuantizeLinear", [x, Floats([3], 0.5, 3, 2), Integers(DataType.Int8, [3], seed: 2)], ("axis", 0));
        yield return new("DequantizeLinear", [Integers(DataType.Int8, [3, 4]), Floats([4], 0.5, 3, 2), Integers(DataType.Int8, [4], seed: 2)]);
        yield return new("DequantizeLinear", [Integers(DataType.Int8, [3, 4]), Floats([3], 0.5, 3, 2)], ("axis", -2));
        yield return new("DequantizeLinear", [Integers(DataType.Int32, [3, 4]), Scalar(0.5)]);
        yield return new("DequantizeLinear", [Integers(DataType.Int8, [4, 6]), Floats([2, 6], 0.5, 3, 2), Integers(DataType.Int8, [2, 6], seed: 2)], ("axis", 0), ("block_size", 2));
        yield return new("DequantizeLinear", [Integers(DataType.UInt8, [3, 5]), Floats([3, 2], 0.5, 3, 2)], ("axis", 1), ("block_size", 3));
        yield return new("QuantizeLinear", [Floats([4, 6]), Floats([2, 6], 0.5, 3, 2), Integers(DataType.Int8, [2, 6], seed: 2)], ("axis", 0), ("block_size", 2));
        yield return new("DynamicQuantizeLinear", [Floats([3, 4])]) { Outputs = 3 };
        yield return new("DynamicQuantizeLinear", [Floats([3, 4], 1, 2)]) { Outputs = 3 };
        yield return new("MatMulInteger", [Integers(DataType.UInt8, [2, 3, 4], 0, 99), Integers(DataType.Int8, [4, 5], seed: 2)]);
        yield return new("MatMulInteger", [Integers(DataType.UInt8, [3, 4], 0, 99), Integers(DataType.UInt8, [4, 5], 0, 99, 2), Scalar(7, DataType.UInt8), Scalar(9, DataType.UInt8)]);
        yield return new("MatMulInteger", [Integers(DataType.UInt8, [3, 4], 0, 99), Integers(DataType.Int8, [4, 5], seed: 2), Scalar(7, DataType.UInt8), Integers(DataType.Int8, [5], seed: 3)]);
    }
}
