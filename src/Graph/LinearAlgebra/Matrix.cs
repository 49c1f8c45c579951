using System.Numerics.Tensors;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.LinearAlgebra;

/// <summary>A dense fp32 matrix in row-major order: weights of one layer on the processor, outside any graph.</summary>
public sealed class Matrix
{
    private const int ParallelFrom = 1 << 20;

    /// <summary>Creates a matrix of zeros.</summary>
    public Matrix(int rows, int columns)
        : this(rows, columns, new float[checked(rows * columns)])
    {
    }

    /// <summary>Creates a matrix over values, which are not copied.</summary>
    /// <exception cref="ArgumentException">The number of values does not fit.</exception>
    public Matrix(int rows, int columns, float[] values)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (values.Length != checked(rows * columns))
        {
            throw new ArgumentException($"{values.Length} values do not fill a matrix [{rows}, {columns}].", nameof(values));
        }

        Rows = rows;
        Columns = columns;
        Values = values;
    }

    /// <summary>Number of rows.</summary>
    public int Rows { get; }

    /// <summary>Number of columns.</summary>
    public int Columns { get; }

    /// <summary>The values, row by row.</summary>
    public float[] Values { get; }

    /// <summary>An element.</summary>
    public float this[int row, int column]
    {
        get => Values[(row * Columns) + column];
        set => Values[(row * Columns) + column] = value;
    }

    /// <summary>A copy of a tensor of two dimensions.</summary>
    /// <exception cref="ArgumentException">The tensor has another number of dimensions.</exception>
    public static Matrix Of(ITensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        return tensor.Dims.Length == 2
            ? new Matrix(checked((int)tensor.Dims[0]), checked((int)tensor.Dims[1]), [.. tensor.ToFloats()])
            : throw new ArgumentException($"A matrix has two dimensions, not [{string.Join(", ", tensor.Dims)}].", nameof(tensor));
    }

    /// <summary>The identity.</summary>
    public static Matrix Identity(int size)
    {
        Matrix matrix = new(size, size);
        for (int i = 0; i < size; i++)
        {
            matrix[i, i] = 1;
        }

        return matrix;
    }

    /// <summary>A row, in place.</summary>
    public Span<float> Row(int index) => Values.AsSpan(index * Columns, Columns);

    /// <summary>A copy.</summary>
    public Matrix Clone() => new(Rows, Columns, [.. Values]);

    /// <summary>The values as a tensor; they are shared.</summary>
    public DenseTensor ToTensor() => DenseTensor.Of([Rows, Columns], Values);

    /// <summary>The transposed matrix.</summary>
    public Matrix Transpose()
    {
        Matrix result = new(Columns, Rows);
        for (int r = 0; r < Rows; r++)
        {
            ReadOnlySpan<float> row = Row(r);
            for (int c = 0; c < row.Length; c++)
            {
                result.Values[(c * Rows) + r] = row[c];
            }
        }

        return result;
    }

    /// <summary>The product with another matrix.</summary>
    public Matrix Multiply(Matrix right)
    {
        ArgumentNullException.ThrowIfNull(right);
        if (Columns != right.Rows)
        {
            throw new ArgumentException($"[{Rows}, {Columns}] cannot be multiplied by [{right.Rows}, {right.Columns}].", nameof(right));
        }

        Matrix result = new(Rows, right.Columns);
        if ((long)Rows * Columns * right.Columns < ParallelFrom)
        {
            for (int r = 0; r < Rows; r++)
            {
                MultiplyRow(right, result, r);
            }
        }
        else
        {
            Parallel.For(0, Rows, r => MultiplyRow(right, result, r));
        }

        return result;
    }

    /// <summary>Adds <paramref name="factor"/> times another matrix of the same shape, in place.</summary>
    public void Add(Matrix other, float factor = 1)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (other.Rows != Rows || other.Columns != Columns)
        {
            throw new ArgumentException($"[{other.Rows}, {other.Columns}] cannot be added to [{Rows}, {Columns}].", nameof(other));
        }

        TensorPrimitives.MultiplyAdd(other.Values, factor, Values, Values);
    }

    /// <summary>Multiplies every element, in place.</summary>
    public void Scale(float factor) => TensorPrimitives.Multiply(Values, factor, Values);

    /// <summary>Multiplies each row by its own factor, in place.</summary>
    public void ScaleRows(ReadOnlySpan<float> factors)
    {
        for (int r = 0; r < Rows; r++)
        {
            TensorPrimitives.Multiply(Row(r), factors[r], Row(r));
        }
    }

    /// <summary>Multiplies each column by its own factor, in place.</summary>
    public void ScaleColumns(ReadOnlySpan<float> factors)
    {
        for (int r = 0; r < Rows; r++)
        {
            TensorPrimitives.Multiply(Row(r), factors, Row(r));
        }
    }

    /// <summary>The first rows.</summary>
    public Matrix FirstRows(int count) => new(count, Columns, Values[..(count * Columns)]);

    /// <summary>The first columns.</summary>
    public Matrix FirstColumns(int count)
    {
        Matrix result = new(Rows, count);
        for (int r = 0; r < Rows; r++)
        {
            Row(r)[..count].CopyTo(result.Row(r));
        }

        return result;
    }

    /// <summary>Euclidean norm of each row, summed in double.</summary>
    public float[] RowNorms()
    {
        float[] norms = new float[Rows];
        for (int r = 0; r < Rows; r++)
        {
            double sum = 0;
            foreach (float value in Row(r))
            {
                sum += (double)value * value;
            }

            norms[r] = (float)Math.Sqrt(sum);
        }

        return norms;
    }

    private void MultiplyRow(Matrix right, Matrix result, int r)
    {
        Span<float> target = result.Row(r);
        ReadOnlySpan<float> row = Row(r);
        for (int k = 0; k < row.Length; k++)
        {
            TensorPrimitives.MultiplyAdd(right.Row(k), row[k], target, target);
        }
    }
}
