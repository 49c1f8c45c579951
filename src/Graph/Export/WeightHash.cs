using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Export;

/// <summary>
/// Tells whether two models hold the same weights: a hash over name, type, shape and content of every initializer of the main
/// graph and of every constant of its nodes, whatever their order and wherever the data lie.
/// </summary>
public static class WeightHash
{
    private const string Prefix = "xxh128:";
    private const int ChunkSize = 1 << 20;

    /// <summary>Hashes the weights of a model, a part at a time.</summary>
    /// <returns>The algorithm and the hash, for example <c>xxh128:0f3a...</c>.</returns>
    public static string Of(OnnxModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        XxHash128 hash = new();
        byte[] chunk = new byte[ChunkSize];
        IEnumerable<(string Name, ITensor Content)> initializers = model.Graph.Initializers.Select(v => (v.Name, v.Initializer!));
        IEnumerable<(string Name, ITensor Content)> constants = model.Graph.AllNodes()
            .Where(n => n.Is("Constant") && n.Outputs.Count > 0 && n.Attributes.TryGetValue("value", out NodeAttribute? a) && a.Kind == AttributeKind.Tensor)
            .Select(n => (n.Outputs[0].Name, n.Attributes["value"].AsTensor()));
        foreach ((string name, ITensor content) in initializers.Concat(constants).OrderBy(i => i.Name, StringComparer.Ordinal))
        {
            Append(hash, name, content, chunk);
        }

        return Prefix + Convert.ToHexStringLower(hash.GetCurrentHash());
    }

    private static void Append(XxHash128 hash, string name, ITensor content, byte[] chunk)
    {
        hash.Append(Encoding.UTF8.GetBytes($"{name}\0{content.ElementType}[{string.Join(",", content.Dims)}]\0"));
        if (content is StringTensor strings)
        {
            Span<byte> length = stackalloc byte[sizeof(int)];
            foreach (ReadOnlyMemory<byte> text in strings.Values)
            {
                BinaryPrimitives.WriteInt32LittleEndian(length, text.Length);
                hash.Append(length);
                hash.Append(text.Span);
            }

            return;
        }

        for (long offset = 0; offset < content.ByteLength; offset += chunk.Length)
        {
            Span<byte> part = chunk.AsSpan(0, (int)Math.Min(chunk.Length, content.ByteLength - offset));
            content.Read(offset, part);
            hash.Append(part);
        }
    }
}
