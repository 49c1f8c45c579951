using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Trainer.Training;

/// <summary>Finds learned position embeddings: tables that are read at places which depend on positions and not on tokens.</summary>
internal static class PositionTables
{
    private const string PositionInput = "position_ids";

    /// <summary>Rows of the shortest table, which is the context of the model; null if it has none.</summary>
    internal static long? ContextLength(LinearSites sites)
    {
        long[] rows = [.. sites.Sites.Where(s => s.Kind == LinearKind.Embedding && AreReadByPosition(s.Input)).Select(s => s.InFeatures)];
        return rows.Length > 0 ? rows.Min() : null;
    }

    /// <summary>Whether indices count positions: they come from a Range, 0, 1, 2, ... in a constant, or the positions that are fed, and from no token.</summary>
    private static bool AreReadByPosition(Value indices)
    {
        bool counts = false;
        HashSet<Value> seen = [];
        Stack<Value> open = new([indices]);
        while (open.TryPop(out Value? value))
        {
            if (!seen.Add(value))
            {
                continue;
            }

            if (value.IsGraphInput && value.Name != PositionInput)
            {
                return false;
            }

            counts |= value.IsGraphInput || value.Producer?.OpType == "Range" || (value.Initializer is { } content && IsCounting(content));

            // What is taken of a shape is no token's value, and what is read from a table (a buffer of segments) is the table's, wherever it is read.
            if (value.Producer is { } producer && producer.OpType is not ("Shape" or "Size"))
            {
                bool isLookup = producer.OpType is "Gather" or "GatherElements" or "GatherND";
                foreach (Value? input in isLookup ? producer.Inputs.Take(1) : producer.Inputs)
                {
                    if (input is not null)
                    {
                        open.Push(input);
                    }
                }
            }
        }

        return counts;
    }

    private static bool IsCounting(ITensor content) =>
        content.ElementType == DataType.Int64 && content.ElementCount() is > 1 and < 1 << 24 && content.ToInt64s().Select((v, i) => v == i).All(e => e);
}
