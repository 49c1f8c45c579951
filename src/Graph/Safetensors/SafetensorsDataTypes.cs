using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Safetensors;

/// <summary>Names of element types in safetensors headers.</summary>
internal static class SafetensorsDataTypes
{
    // In the order of the reference writer, which puts tensors of later types first: wide before narrow, so that
    // every tensor is aligned to its own type.
    private static readonly (string Name, DataType Type)[] Table =
    [
        ("BOOL", DataType.Bool),
        ("U8", DataType.UInt8),
        ("I8", DataType.Int8),
        ("F8_E5M2", DataType.Float8E5M2),
        ("F8_E4M3", DataType.Float8E4M3FN),
        ("F8_E8M0", DataType.Float8E8M0),
        ("I16", DataType.Int16),
        ("U16", DataType.UInt16),
        ("F16", DataType.Float16),
        ("BF16", DataType.BFloat16),
        ("I32", DataType.Int32),
        ("U32", DataType.UInt32),
        ("F32", DataType.Float),
        ("C64", DataType.Complex64),
        ("F64", DataType.Double),
        ("I64", DataType.Int64),
        ("U64", DataType.UInt64),
    ];

    /// <summary>All names, for messages.</summary>
    public static string Known => string.Join(", ", Table.Select(t => t.Name));

    /// <summary>The type that a name stands for; Undefined if the name is not known.</summary>
    public static DataType Parse(string? name) => Array.Find(Table, t => t.Name == name).Type;

    /// <summary>The name of a type; null if safetensors has none.</summary>
    public static string? NameOf(DataType type) => Array.Find(Table, t => t.Type == type).Name;

    /// <summary>The place of a type in the order of the reference writer.</summary>
    public static int Order(DataType type) => Array.FindIndex(Table, t => t.Type == type);
}
