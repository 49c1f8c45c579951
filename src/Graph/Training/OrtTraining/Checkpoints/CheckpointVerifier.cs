using Google.FlatBuffers;
using static OrtQLoRA.Graph.Training.OrtTraining.Checkpoints.CheckpointFields;

namespace OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

/// <summary>Checks that every offset of an untrusted checkpoint stays inside it, before anything is read.</summary>
internal static class CheckpointVerifier
{
    private const int MaxDepth = 16;
    private const int MaxTables = 1 << 22;

    internal static bool Verify(ByteBuffer buffer)
    {
        // Strings must end in a zero byte and numbers be aligned, as ONNX Runtime itself asks.
        Verifier verifier = new(buffer, new Options(MaxDepth, MaxTables, true, true));
        return verifier.VerifyBuffer(Identifier, sizePrefixed: false, RootTable);
    }

    private static bool RootTable(Verifier v, uint table) => Table(v, table)
        && Scalar(v, table, Root.Version, sizeof(int))
        && v.VerifyTable(table, VTableOffset(Root.ModuleState), ModuleTable, false)
        && v.VerifyVectorOfTables(table, VTableOffset(Root.OptimizerGroups), GroupTable, false)
        && v.VerifyTable(table, VTableOffset(Root.PropertyBag), BagTable, false)
        && v.VerifyTableEnd(table);

    private static bool ModuleTable(Verifier v, uint table) => Table(v, table)
        && v.VerifyVectorOfTables(table, VTableOffset(Module.Trainable), TensorTable, false)
        && v.VerifyVectorOfTables(table, VTableOffset(Module.Frozen), TensorTable, false)
        && Scalar(v, table, Module.IsNominal, sizeof(bool))
        && Scalar(v, table, Module.HasExternalData, sizeof(bool))
        && v.VerifyTableEnd(table);

    private static bool TensorTable(Verifier v, uint table) => Table(v, table)
        && Text(v, table, TensorFields.Name)
        && Text(v, table, TensorFields.DocString)
        && v.VerifyVectorOfData(table, VTableOffset(TensorFields.Dims), sizeof(long), false)
        && Scalar(v, table, TensorFields.DataType, sizeof(int))
        && v.VerifyVectorOfData(table, VTableOffset(TensorFields.RawData), sizeof(byte), false)
        && v.VerifyVectorOfStrings(table, VTableOffset(TensorFields.StringData), false)
        && Scalar(v, table, TensorFields.ExternalOffset, sizeof(long))
        && v.VerifyTableEnd(table);

    private static bool GroupTable(Verifier v, uint table) => Table(v, table)
        && Text(v, table, Group.Name)
        && Scalar(v, table, Group.Step, sizeof(long))
        && Scalar(v, table, Group.InitialLearningRate, sizeof(float))
        && v.VerifyVectorOfTables(table, VTableOffset(Group.States), ParameterStateTable, false)
        && v.VerifyTableEnd(table);

    private static bool ParameterStateTable(Verifier v, uint table) => Table(v, table)
        && Text(v, table, ParameterState.Name)
        && v.VerifyVectorOfTables(table, VTableOffset(ParameterState.Moments), TensorTable, false)
        && v.VerifyTableEnd(table);

    private static bool BagTable(Verifier v, uint table) => Table(v, table)
        && v.VerifyVectorOfTables(table, VTableOffset(Bag.Integers), IntegerTable, false)
        && v.VerifyVectorOfTables(table, VTableOffset(Bag.Floats), FloatTable, false)
        && v.VerifyVectorOfTables(table, VTableOffset(Bag.Strings), StringTable, false)
        && v.VerifyTableEnd(table);

    private static bool IntegerTable(Verifier v, uint table) =>
        Table(v, table) && Text(v, table, Property.Name) && Scalar(v, table, Property.Value, sizeof(long)) && v.VerifyTableEnd(table);

    private static bool FloatTable(Verifier v, uint table) =>
        Table(v, table) && Text(v, table, Property.Name) && Scalar(v, table, Property.Value, sizeof(float)) && v.VerifyTableEnd(table);

    private static bool StringTable(Verifier v, uint table) =>
        Table(v, table) && Text(v, table, Property.Name) && Text(v, table, Property.Value) && v.VerifyTableEnd(table);

    private static bool Table(Verifier v, uint table) => v.VerifyTableStart(table);

    private static bool Text(Verifier v, uint table, int slot) => v.VerifyString(table, VTableOffset(slot), false);

    private static bool Scalar(Verifier v, uint table, int slot, ulong size) => v.VerifyField(table, VTableOffset(slot), size, size, false);
}
