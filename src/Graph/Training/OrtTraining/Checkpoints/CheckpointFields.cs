namespace OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;

/// <summary>Slots of the fields of <c>Checkpoint.fbs</c>, which lies beside this file.</summary>
internal static class CheckpointFields
{
    /// <summary>Bytes 4 to 7 of a checkpoint.</summary>
    internal const string Identifier = "ODTC";

    /// <summary>Value of <see cref="TensorFields.ExternalOffset"/> for tensors that lie in the file itself.</summary>
    internal const long Inline = -1;

    /// <summary>Appended to a checkpoint's path: the file with the data of tensors that do not lie in it.</summary>
    internal const string ExternalDataSuffix = ".data";

    /// <summary>Position of a field in its table's vtable.</summary>
    internal static short VTableOffset(int slot) => (short)(4 + (2 * slot));

    /// <summary>Slots of the root.</summary>
    internal static class Root
    {
        internal const int Version = 0;
        internal const int ModuleState = 1;
        internal const int OptimizerGroups = 2;
        internal const int PropertyBag = 3;
        internal const int Count = 4;
    }

    /// <summary>Slots of ModuleState.</summary>
    internal static class Module
    {
        internal const int Trainable = 0;
        internal const int Frozen = 1;
        internal const int IsNominal = 2;
        internal const int HasExternalData = 3;
        internal const int Count = 4;
    }

    /// <summary>Slots of Tensor.</summary>
    internal static class TensorFields
    {
        internal const int Name = 0;
        internal const int DocString = 1;
        internal const int Dims = 2;
        internal const int DataType = 3;
        internal const int RawData = 4;
        internal const int StringData = 5;
        internal const int ExternalOffset = 6;
        internal const int Count = 7;
    }

    /// <summary>Slots of OptimizerGroup.</summary>
    internal static class Group
    {
        internal const int Name = 0;
        internal const int Step = 1;
        internal const int InitialLearningRate = 2;
        internal const int States = 3;
        internal const int Count = 4;
    }

    /// <summary>Slots of ParameterOptimizerState.</summary>
    internal static class ParameterState
    {
        internal const int Name = 0;
        internal const int Moments = 1;
        internal const int Count = 2;
    }

    /// <summary>Slots of PropertyBag.</summary>
    internal static class Bag
    {
        internal const int Integers = 0;
        internal const int Floats = 1;
        internal const int Strings = 2;
        internal const int Count = 3;
    }

    /// <summary>Slots of the tables of PropertyBag.</summary>
    internal static class Property
    {
        internal const int Name = 0;
        internal const int Value = 1;
        internal const int Count = 2;
    }
}
