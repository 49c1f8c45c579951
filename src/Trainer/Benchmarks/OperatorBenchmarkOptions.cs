using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Rewriting;

namespace OrtQLoRA.Trainer.Benchmarks;

/// <summary>What <see cref="OperatorBenchmark"/> measures, at which sizes.</summary>
public sealed class OperatorBenchmarkOptions
{
    /// <summary>Sizes K, N of the int8 weights.</summary>
    public IReadOnlyList<(int K, int N)> Shapes { get; set; } = [(2048, 2048)];

    /// <summary>Rows that the products multiply.</summary>
    public IReadOnlyList<int> Rows { get; set; } = [1, 16, 256, 1024];

    /// <summary>Arithmetic of the native products.</summary>
    public IReadOnlyList<Int8Compute> Computes { get; set; } = [Int8Compute.Int8, Int8Compute.Bf16, Int8Compute.Int16, Int8Compute.Fp32];

    /// <summary>Arithmetic of the fused operators that multiply: LoRA linear layers, attention, the output head.</summary>
    public Int8Compute FusedCompute { get; set; } = Int8Compute.Fp32;

    /// <summary>Names of the operators to measure; empty for all.</summary>
    public IReadOnlyList<string> Only { get; set; } = [];

    /// <summary>Rows of the fused operators' batch.</summary>
    public int Batch { get; set; } = 4;

    /// <summary>Tokens of each row.</summary>
    public int Length { get; set; } = 256;

    /// <summary>Features of a token.</summary>
    public int Hidden { get; set; } = 512;

    /// <summary>Features inside the MLP.</summary>
    public int Mlp { get; set; } = 1376;

    /// <summary>Heads of attention and rotary embedding.</summary>
    public int Heads { get; set; } = 8;

    /// <summary>Classes of the output head.</summary>
    public int Vocabulary { get; set; } = 4096;

    /// <summary>Rank of the LoRA branch.</summary>
    public int Rank { get; set; } = 16;

    /// <summary>Numbers that the optimizer updates.</summary>
    public int Trained { get; set; } = 1 << 20;

    /// <summary>Seconds that each implementation is run at each size; at least three runs are timed whatever they take.</summary>
    public double Seconds { get; set; } = 0.3;

    /// <summary>Threads within an operator; 0 for one a processor.</summary>
    public int Threads { get; set; }

    /// <summary>Reads a list such as <c>2048x2048,512x1376</c>.</summary>
    /// <exception cref="ConfigurationException">A part is no pair of numbers above 0.</exception>
    public static IReadOnlyList<(int K, int N)> ParseShapes(string text) => [.. text.Split(',', StringSplitOptions.TrimEntries).Select(Shape)];

    /// <summary>Faults of the options, each with the value given and what is allowed; empty if there are none.</summary>
    public IEnumerable<string> Faults()
    {
        foreach (string name in Only.Where(n => CustomOps.OpCatalog.All.All(o => o.Name != n)))
        {
            yield return $"--only names '{name}'; the native operators are {string.Join(", ", CustomOps.OpCatalog.All.Select(o => o.Name))}.";
        }

        (string Name, int Value)[] sizes =
        [
            .. Rows.Select(r => ("--rows", r)),
            ("--batch", Batch), ("--length", Length), ("--hidden", Hidden), ("--mlp", Mlp), ("--heads", Heads), ("--vocab", Vocabulary), ("--rank", Rank), ("--trained", Trained),
        ];
        foreach ((string name, int value) in sizes.Where(s => s.Value < 1))
        {
            yield return $"{name} is {value}; it must be 1 or more.";
        }

        if (Heads > 0 && (Hidden % Heads != 0 || Hidden / Heads % 2 != 0))
        {
            yield return $"--hidden {Hidden} does not give each of {Heads} heads the same even number of features; choose a multiple of {2 * Heads}.";
        }

        if (!(Seconds >= 0 && double.IsFinite(Seconds)))
        {
            yield return $"--seconds is {Seconds}; it must be a finite number, 0 or more.";
        }

        if (Threads < 0)
        {
            yield return $"--threads is {Threads}; it must be 0 or more.";
        }
    }

    private static (int K, int N) Shape(string text) =>
        text.Split('x') is [var k, var n] && int.TryParse(k, out int rows) && int.TryParse(n, out int columns) && rows > 0 && columns > 0
            ? (rows, columns)
            : throw new ConfigurationException($"'{text}' in --shapes is no size of a weight; write K x N as in 2048x2048,512x1376.");
}
