using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Tests.Inference;

/// <summary>What cannot run is refused, with the node, the values and their types.</summary>
[TestClass]
public sealed class InferenceErrorTests
{
    [TestMethod]
    [DataRow("Add", "float[2, 3]; int64[3]", "", "'x0' is float[2, 3], 'x1' is int64[3]; insert a Cast")]
    [DataRow("Add", "float[2, 3]; float[2, 4]", "", "shapes [2, 3] and [2, 4] do not broadcast: 3 and 4 differ")]
    [DataRow("MatMul", "float[batch, 3]; float[4, 5]", "", "the inner dimensions of the product must be equal, but are 3 and 4")]
    [DataRow("MatMul", "float[]; float[4, 5]", "", "input 0 is a scalar")]
    [DataRow("Gemm", "float[2, 3]; float[3, 4]", "transB=1", "but are 3 and 4")]
    [DataRow("Gemm", "float[1, 2, 3]; float[3, 4]", "", "input 0 must have rank 2, but x0: float[1, 2, 3] has rank 3")]
    [DataRow("Not", "float[2]", "", "input 0 must be bool, but 'x0' is float[2]")]
    [DataRow("Where", "float[2]; float[2]; float[2]", "", "input 0 must be bool")]
    [DataRow("Reshape", "float[2, 3]; int64{4, 2}", "", "has 6 elements, which do not fit the target shape [4, 2]")]
    [DataRow("Reshape", "float[2, 3]; int64{4, -1}", "", "has 6 elements, which do not fit")]
    [DataRow("Reshape", "float[2, 3]; int64{-1, -1}", "", "-1 more than once")]
    [DataRow("Reshape", "float[2, 3]; int64{2, 3, 0}", "", "copies a dimension that x0: float[2, 3] does not have")]
    [DataRow("Reshape", "float[2, 3]; int32[1]", "", "input 1 must be int64")]
    [DataRow("Transpose", "float[2, 3]", "perm=[0, 1, 2]", "perm [0, 1, 2] has 3 axes")]
    [DataRow("Transpose", "float[2, 3]", "perm=[0, 0]", "name one axis twice")]
    [DataRow("Concat", "float[2, 3]; float[4, 5]", "axis=0", "dimensions 1 of all inputs must be equal, but are 3 and 5")]
    [DataRow("Concat", "float[2, 3]; float[4]", "axis=0", "inputs have ranks 2 and 1")]
    [DataRow("Concat", "float[2, 3]; float16[2, 3]", "axis=0", "insert a Cast")]
    [DataRow("Squeeze", "float[2, 3]; int64{1}", "", "axis 1 of x0: float[2, 3] has size 3")]
    [DataRow("ReduceSum", "float[2, 3]; int64{2}", "", "axis 2 lies outside the rank 2")]
    [DataRow("Softmax", "float[2, 3]", "axis=2", "axis 2 lies outside the rank 2")]
    [DataRow("Gather", "float[2, 3]; float[1]", "", "input 1 must be int64 or int32")]
    [DataRow("GatherND", "float[2, 3]; int64[4, 3]", "", "index vectors cover 3 axes")]
    [DataRow("Slice", "float[9]; int64{0}; int64{9}; int64{0}; int64{0}", "", "its step is 0")]
    [DataRow("Range", "int64(0); int64(9); int64(0)", "", "its delta is 0")]
    [DataRow("Split", "float[9]; int64{4, 5}", "", "2 split sizes but 1 outputs")]
    [DataRow("Tile", "float[2, 3]; int64{2}", "", "it repeats 1 axes")]
    [DataRow("Pad", "float[2, 3]; int64{0, 1}", "", "it has 2 pads for 2 axes")]
    [DataRow("Cast", "float[2]", "to=99", "'to' is 99, which names no element type")]
    [DataRow("Cast", "float[2]", "", "attribute 'to' is missing")]
    [DataRow("Conv", "float[1, 3, 8, 8]; float[4, 2, 3, 3]", "", "channels of the input and of the weight times groups must be equal, but are 3 and 2")]
    [DataRow("Conv", "float[1, 3, 8, 8]; float[4, 3, 3, 3]", "strides=[1]", "attribute 'strides' is [1]")]
    [DataRow("Conv", "float[1, 3, 8, 8]; float[4, 3, 3, 3]", "strides=[0, 1]", "strides [0, 1] must be positive")]
    [DataRow("Einsum", "float[2, 3]; float[4, 5]", "equation=ij,jk->ik", "dimensions with label 'j' must be equal, but are 3 and 4")]
    [DataRow("Einsum", "float[2, 3]", "equation=ij,jk->ik", "does not fit 1 inputs")]
    [DataRow("Einsum", "float[2, 3]", "equation=ij->k", "label 'k' of the output is in no input")]
    [DataRow("Constant", "", "", "has no value")]
    [DataRow("If", "bool[]", "", "attribute 'then_branch', a subgraph, is missing")]
    [DataRow("com.microsoft::MatMulNBits", "float[2, 16]; uint8[7, 1, 16]; float[7]", "K=32; N=7", "attribute 'K' must be equal, but are 16 and 32")]
    public void Infer_ImpossibleCall_SaysWhatAndWhere(string operation, string inputs, string attributes, string message)
    {
        RuleCase rule = new(operation, inputs, attributes, 1, 21);
        GraphException error = Assert.ThrowsExactly<GraphException>(() => rule.Infer());
        Assert.Contains(message, error.Message);
        Assert.Contains(rule.Node.Name, error.Message);
    }

    [TestMethod]
    [DataRow("Conv", "float[1, 3, 9223372036854775807]; float[4, 3, 3]", "pads=[9223372036854775807, 1]")]
    [DataRow("Slice", "float[9]; int64{-9223372036854775808}; int64{9223372036854775807}; int64{0}; int64{-9223372036854775808}", "")]
    [DataRow("Reshape", "float[9223372036854775807, 9223372036854775807]; int64{-1}", "")]
    [DataRow("Tile", "float[9223372036854775807]; int64{9223372036854775807}", "")]
    [DataRow("Concat", "float[9223372036854775807]; float[9223372036854775807]", "axis=0")]
    [DataRow("ConstantOfShape", "int64{9223372036854775807, 9223372036854775807}", "")]
    [DataRow("Range", "int64(-9223372036854775808); int64(9223372036854775807); int64(1)", "")]
    [DataRow("Split", "float[9223372036854775807]", "num_outputs=1")]
    [DataRow("DepthToSpace", "float[1, 4, 9223372036854775807, 1]", "blocksize=9223372036854775807")]
    [DataRow("Scan", "float[2]", "num_scan_inputs=-5")]
    public void Infer_HostileNumbers_EndsInOwnErrorOrUnknown(string operation, string inputs, string attributes)
    {
        RuleCase rule = new(operation, inputs, attributes, 1, 21);
        try
        {
            rule.Infer();
        }
        catch (OrtQLoRAException e)
        {
            Assert.Contains(operation, e.Message);
        }
    }
}
