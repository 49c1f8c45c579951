using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;

namespace OrtQLoRA.Graph.Adapters.Orthogonal;

/// <summary>Orthogonal matrices from skew-symmetric ones, in the graph and outside.</summary>
internal static class Cayley
{
    // The error of Newton's iteration is squared at each step; this many take it from 1 - 1e-3 below 1e-7.
    private const int NewtonSteps = 14;

    /// <summary>
    /// <c>R = (I - Q)(I + Q)^-1</c> for skew Q [blocks, n, n]. ONNX has no inverse: <c>(I + Q)^-1 = (I - Q) S^-1</c> with the
    /// positive definite <c>S = I - Q^2</c>, whose inverse Newton's iteration finds from <c>Y = 2 / (2 + |Q|^2 / 2) I</c>
    /// (eigenvalues of -Q^2 come in pairs, so none exceeds half the squared norm). No gradient passes through the
    /// iteration; one last step at its result has exactly the gradient of the inverse.
    /// </summary>
    public static Value Exact(GraphBuilder b, Value q, int size)
    {
        Value identity = b.Constant(Matrix.Identity(size).ToTensor());
        Value s = b.Sub(identity, b.MatMul(q, q));
        Value bound = b.Mul(b.ReduceSum(b.Mul(q, q), true, 1, 2), 0.5);
        Value y = b.Mul(b.Div(b.Scalar(2f), b.Add(bound, b.Scalar(2f))), identity);
        Value twice = b.Mul(identity, 2);
        for (int i = 0; i < NewtonSteps; i++)
        {
            y = b.MatMul(y, b.Sub(twice, b.MatMul(s, y)));
        }

        y = AdapterInsertionContext.Detach(b, y);
        Value inverse = b.MatMul(y, b.Sub(twice, b.MatMul(s, y)));
        Value difference = b.Sub(identity, q);
        return b.MatMul(b.MatMul(difference, difference), inverse);
    }

    /// <summary>
    /// PEFT's truncated Neumann series of the Cayley transform: <c>I + 2Q + 2Q^2 + ... + Q^k</c> with the last power once; for
    /// 5 terms k is 4. It goes the opposite way round from the exact transform: its limit is (I + Q)(I - Q)^-1.
    /// </summary>
    public static Value Neumann(GraphBuilder b, Value q, int size, int terms)
    {
        Value r = b.Constant(Matrix.Identity(size).ToTensor());
        foreach ((int power, double factor) in Series(terms))
        {
            Value term = q;
            for (int i = 1; i < power; i++)
            {
                term = b.MatMul(term, q);
            }

            r = b.Add(r, b.Mul(term, factor));
        }

        return terms > 1 ? r : b.Add(r, b.Mul(q, 0));
    }

    /// <summary>The exact transform of one block, outside the graph.</summary>
    public static Matrix Exact(Matrix q)
    {
        Matrix sum = Matrix.Identity(q.Rows);
        sum.Add(q);
        Matrix difference = Matrix.Identity(q.Rows);
        difference.Add(q, -1);
        return difference.Multiply(Decompositions.Inverse(sum));
    }

    /// <summary>The same as the series in the graph for one block.</summary>
    public static Matrix Neumann(Matrix q, int terms)
    {
        Matrix r = Matrix.Identity(q.Rows);
        Matrix power = Matrix.Identity(q.Rows);
        foreach ((int _, double factor) in Series(terms))
        {
            power = power.Multiply(q);
            r.Add(power, (float)factor);
        }

        return r;
    }

    // Powers from 1 with their factors. PEFT's loop gives 3 and 4 terms the same series.
    private static IEnumerable<(int Power, double Factor)> Series(int terms)
    {
        int last = terms <= 2 ? terms - 1 : Math.Max(3, terms - 1);
        for (int power = 1; power <= last; power++)
        {
            yield return (power, power == last && terms > 2 ? 1 : 2);
        }
    }
}
