using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Training;

/// <summary>
/// Random numbers inside a training graph that depend on nothing but a seed, a purpose and the number of the pass, which the
/// engine feeds as <see cref="ArtifactNames.Pass"/>. ONNX's own random operators keep a hidden state in the session, which no
/// checkpoint can hold; with these a resumed run draws what the uninterrupted one would have drawn, on every provider.
/// </summary>
/// <remarks>
/// All arithmetic is int64 modulo the prime <c>p = 2^31 - 1</c>, where <c>h(x) = x^5</c> is a permutation (5 does not divide
/// p - 1). With a key k of seed and purpose and <c>s = k * h(pass + 1)</c>, the number of row i and column j is
/// <c>(floor(h(i + s) / 2) + floor(h(j + s') / 2))^2 mod p</c>: three passes over the tensor, the rest over rows and columns.
/// </remarks>
public static class PassRandom
{
    /// <summary>The prime modulus; numbers lie from 0 to this, exclusive.</summary>
    public const long Modulus = int.MaxValue;

    /// <summary>Emits random integers from 0 to <see cref="Modulus"/> - 1, int64, in the shape of a tensor.</summary>
    /// <param name="builder">Where to emit.</param>
    /// <param name="like">The tensor, of rank 1 or more; only its shape is read.</param>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="purpose">What the numbers are for; each purpose has numbers of its own.</param>
    public static Value Integers(GraphBuilder builder, Value like, int seed, string purpose)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(like);
        ReproducibleRandom keys = new(seed, purpose);
        Value pass = Hash(builder, builder.Add(PassInput(builder), builder.Scalar(1L)));
        Value shape = builder.ShapeOf(like);
        Value columns = builder.ShapeOf(like, -1, int.MaxValue);
        Value leading = builder.Concat(0, builder.ShapeOf(like, 0, -1), builder.Int64s(1));
        Value rows = builder.Op("ReduceProd", [leading], ("keepdims", 0L));
        Value rowHash = builder.Reshape(Half(builder, Numbers(builder, rows, pass, Key(keys))), leading);
        Value columnHash = Half(builder, Numbers(builder, builder.Squeeze(columns, 0), pass, Key(keys)));
        Value sum = builder.Add(rowHash, columnHash);
        Value numbers = Modulo(builder, builder.Mul(sum, sum));
        numbers.Type = new OnnxType.Tensor(DataType.Int64, like.Shape);
        return numbers;
    }

    /// <summary>The training model's input that counts passes, added when it is first asked for.</summary>
    private static Value PassInput(GraphBuilder builder)
    {
        OnnxGraph graph = builder.Graph;
        return graph.Inputs.FirstOrDefault(i => i.Name == ArtifactNames.Pass) ?? graph.AddInput(ArtifactNames.Pass, DataType.Int64, Shape.Scalar);
    }

    private static long Key(ReproducibleRandom keys) => 1 + (long)(keys.NextUniform() * (Modulus - 1));

    /// <summary>h(i + key * pass) for i from 0 to count - 1, int64 [count].</summary>
    private static Value Numbers(GraphBuilder builder, Value count, Value pass, long key)
    {
        Value start = Modulo(builder, builder.Mul(pass, builder.Scalar(key)));
        Value range = builder.Op("Range", [builder.Scalar(0L), count, builder.Scalar(1L)]);
        return Hash(builder, builder.Add(range, start));
    }

    /// <summary>x^5 mod p.</summary>
    private static Value Hash(GraphBuilder builder, Value x)
    {
        Value reduced = Modulo(builder, x);
        Value square = Modulo(builder, builder.Mul(reduced, reduced));
        Value fourth = Modulo(builder, builder.Mul(square, square));
        return Modulo(builder, builder.Mul(fourth, reduced));
    }

    private static Value Half(GraphBuilder builder, Value x) => builder.Div(x, builder.Scalar(2L));

    private static Value Modulo(GraphBuilder builder, Value x) => builder.Op("Mod", [x, builder.Scalar(Modulus)]);
}
