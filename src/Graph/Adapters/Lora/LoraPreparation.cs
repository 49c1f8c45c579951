using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.LinearAlgebra;
using OrtQLoRA.Graph.Quantization;

namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>
/// Initializations that take the adapter's first matrices out of the base's weights: <c>W := W - scaling B0 A0</c>, or for LoftQ
/// the quantized weight. An adapter that was trained from such a start fits only the base so changed, which is therefore
/// changed again whenever the adapter is read.
/// </summary>
internal static class LoraPreparation
{
    // How far B^T B may be from a diagonal for the matrices to count as untouched since their decomposition.
    private const double Diagonality = 1e-3;

    public static void Run(LoraPlan plan, LoraConfig config, BasePreparation preparation)
    {
        switch (config.Initialization)
        {
            case LoraInitialization.Pissa or LoraInitialization.Olora or LoraInitialization.LoftQ or LoraInitialization.Corda:
                ChangeBase(plan, config, preparation);
                break;
            case LoraInitialization.Eva when preparation.Given is null:
                EvaStart.Run(plan, preparation);
                break;
            default:
                break;
        }
    }

    private static void ChangeBase(LoraPlan plan, LoraConfig config, BasePreparation preparation)
    {
        IReadOnlyDictionary<string, ITensor>? given = preparation.Given is null ? null : new InitialValues(preparation.Given, plan).Tensors;
        foreach (LoraLayer layer in plan.Layers.Where(l => !l.IsEmbedding && HasStart(l, config, preparation)))
        {
            LoraStart start = given is null
                ? Compute(layer, config, preparation)
                : Restore(layer, config, preparation, given);
            preparation.Replace(layer.Module, start.Base);
            preparation.RecordInitial(layer.A, start.A.Values);
            preparation.RecordInitial(layer.B, start.B.Values);
            if (given is null)
            {
                preparation.Start(layer.A, start.A.Values);
                preparation.Start(layer.B, start.B.Values);
            }
        }
    }

    // LoftQ makes up for what quantization takes; a layer that is not quantized on a base that is starts as LoRA does.
    private static bool HasStart(LoraLayer layer, LoraConfig config, BasePreparation preparation) =>
        config.Initialization != LoraInitialization.LoftQ || preparation.Quantization is not { } quantization || quantization.IsQuantized(layer.Module);

    // The start of a given adapter: recorded beside it, else computed again where the decomposition is exact, else the adapter
    // itself if it is still as it came from the decomposition.
    private static LoraStart Restore(LoraLayer layer, LoraConfig config, BasePreparation preparation, IReadOnlyDictionary<string, ITensor> given)
    {
        IReadOnlyDictionary<string, ITensor> recorded = preparation.Given!.Start;
        if (config.Initialization != LoraInitialization.LoftQ
            && recorded.TryGetValue(layer.A.FileKey, out ITensor? a0) && recorded.TryGetValue(layer.B.FileKey, out ITensor? b0))
        {
            return Without(layer, Matrix.Of(a0), Matrix.Of(b0));
        }

        bool isExact = config is { Initialization: LoraInitialization.Pissa, PissaIterations: null } or { Initialization: LoraInitialization.Olora or LoraInitialization.LoftQ };
        if (isExact)
        {
            return Compute(layer, config, preparation);
        }

        Matrix a = Matrix.Of(given[layer.A.FileKey]);
        Matrix b = Matrix.Of(given[layer.B.FileKey]);
        return IsUntouched(b)
            ? Without(layer, a, b)
            : throw new ConfigurationException(
                $"The adapter in {preparation.Given.Source} was started by a {(config.Initialization == LoraInitialization.Corda ? "decomposition that depends on data (corda)" : "randomized decomposition (pissa_niter)")} and trained since; "
                + $"by how much that start changed the base's weight of '{layer.Module.Path}' cannot be told from the adapter. Give it with its start beside it ({Peft.PeftAdapterFolder.StartFile}), or convert it to plain LoRA where it was trained (PEFT: save_pretrained with path_initial_model_for_weight_conversion).");
    }

    private static LoraStart Compute(LoraLayer layer, LoraConfig config, BasePreparation preparation)
    {
        Matrix weight = BasePreparation.Weight(layer.Module);
        int limit = Math.Min(weight.Rows, weight.Columns);
        if (layer.Rank > limit)
        {
            throw new ConfigurationException(
                $"Rank {layer.Rank} is above the size of module '{layer.Module.Path}' [{layer.Module.InFeatures} -> {layer.Module.OutFeatures}], whose weight has {limit} singular values. Lower the rank, give the module another one with rank_pattern, or exclude it.");
        }

        switch (config.Initialization)
        {
            case LoraInitialization.Pissa:
                ReproducibleRandom random = new(preparation.Seed, layer.Module.Path + ".pissa");
                (Matrix u, float[] s, Matrix vt) = config.PissaIterations is { } iterations
                    ? Decompositions.RandomizedSvd(weight, layer.Rank, iterations, random.NextGaussian)
                    : Decompositions.Svd(weight, layer.Rank);
                return Without(layer, Split(u, s, vt, layer.Scaling));
            case LoraInitialization.Olora:
                (Matrix q, Matrix r) = Decompositions.Qr(weight);
                return Without(layer, r.FirstRows(layer.Rank), q.FirstColumns(layer.Rank));
            case LoraInitialization.Corda:
                return Without(layer, CordaStart.Factors(layer, config.CordaPreservesKnowledge, preparation));
            default:
                return LoftQ(layer, config, preparation.Quantization?.Format, weight);
        }
    }

    /// <summary>A = sqrt(S / scaling) V^T, B = U sqrt(S / scaling).</summary>
    internal static (Matrix A, Matrix B) Split(Matrix u, float[] s, Matrix vt, double scaling)
    {
        float[] roots = [.. s.Select(v => (float)Math.Sqrt(v / scaling))];
        Matrix a = vt.Clone();
        a.ScaleRows(roots);
        Matrix b = u.Clone();
        b.ScaleColumns(roots);
        return (a, b);
    }

    private static LoraStart Without(LoraLayer layer, (Matrix A, Matrix B) factors) => Without(layer, factors.A, factors.B);

    private static LoraStart Without(LoraLayer layer, Matrix a, Matrix b)
    {
        Matrix weight = BasePreparation.Weight(layer.Module);
        weight.Add(b.Multiply(a), (float)-layer.Scaling);
        return new LoraStart(a, b, weight);
    }

    // Alternates: quantize the weight less s B A, then decompose what quantization took. nf4 replaces the base by its rounded self; a
    // base that is quantized afterwards gets the weight that rounds to it. PEFT, whose files hold nf4 starts, leaves out the scaling s,
    // so that the adapter makes up for s times the error; on a base of this project's own it counts.
    private static LoraStart LoftQ(LoraLayer layer, LoraConfig config, IWeightFormat? format, Matrix weight)
    {
        if (format is null && config.LoftQBits != 4)
        {
            throw new ConfigurationException(
                $"loftq_bits is {config.LoftQBits}; without a quantized base only 4 (nf4) is supported. With --quant the base's own format is taken.");
        }

        double scaling = format is null ? 1 : layer.Scaling;
        Matrix unrounded = weight;
        Matrix rounded = weight;
        Matrix a = new(layer.Rank, weight.Columns);
        Matrix b = new(weight.Rows, layer.Rank);
        for (int i = 0; i < config.LoftQIterations; i++)
        {
            if (i > 0)
            {
                unrounded = weight.Clone();
                unrounded.Add(b.Multiply(a), (float)-scaling);
            }

            rounded = format is null ? Nf4.Round(unrounded) : Round(layer, format, unrounded);
            Matrix lost = weight.Clone();
            lost.Add(rounded, -1);
            (Matrix u, float[] s, Matrix vt) = Decompositions.Svd(lost, layer.Rank);
            (a, b) = Split(u, s, vt, scaling);
        }

        return new LoraStart(a, b, format is null ? rounded : unrounded);
    }

    private static Matrix Round(LoraLayer layer, IWeightFormat format, Matrix weight)
    {
        Matrix rounded = new(weight.Rows, weight.Columns);
        format.Quantize(new WeightMatrix(layer.Module.Weight.Name, weight.ToTensor(), isOutByIn: true)).DequantizeColumns(0, rounded.Values);
        return rounded;
    }

    // U is orthonormal, so that B = U sqrt(S / s) has orthogonal columns until training moves them.
    private static bool IsUntouched(Matrix b)
    {
        Matrix gram = b.Transpose().Multiply(b);
        double diagonal = 0;
        double rest = 0;
        for (int row = 0; row < gram.Rows; row++)
        {
            for (int column = 0; column < gram.Columns; column++)
            {
                double square = (double)gram[row, column] * gram[row, column];
                (diagonal, rest) = row == column ? (diagonal + square, rest) : (diagonal, rest + square);
            }
        }

        return Math.Sqrt(rest) <= Diagonality * Math.Sqrt(diagonal);
    }
}
