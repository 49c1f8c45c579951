using System.Text.RegularExpressions;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears.Naming;

namespace OrtQLoRA.Graph.Linears;

/// <summary>Names the parameters of a model as PyTorch does.</summary>
internal static partial class ParameterFinder
{
    // Hugging Face's Conv1D (GPT-2) holds its weight [in, out].
    private static readonly HashSet<string> Conv1DNames = new(StringComparer.Ordinal) { "c_attn", "q_attn", "c_proj", "c_fc" };

    public static IReadOnlyList<ModelParameter> Find(OnnxModel model, LinearSites sites)
    {
        List<ModelParameter> parameters = [];
        HashSet<string> names = new(StringComparer.Ordinal);
        HashSet<Value> claimed = [];
        HashSet<(Value, WeightSlice?)> biases = [];
        foreach (LinearModule module in sites.Modules)
        {
            LinearSite site = module.Sites[0];
            claimed.Add(site.Weight);
            if (site.Storage == WeightStorage.Dense)
            {
                string name = NameOf(site.Weight, module.Path, "weight");
                Add(new ModelParameter { Name = name, Value = site.Weight, Slice = site.Slice, Content = site.Content, IsTransposed = IsTransposed(site), WeightOf = module });
            }

            if (module.Bias is { } bias && ConstantContent.DefaultOf(bias) is { } content && (claimed.Add(bias) || site.BiasSlice is not null) && biases.Add((bias, site.BiasSlice)))
            {
                Add(new ModelParameter
                {
                    Name = NameOf(bias, module.Path, "bias"),
                    Value = bias,
                    Slice = site.BiasSlice,
                    Content = site.BiasSlice is { } part ? new SlicedTensor(content, part.Axis, part.Start, part.Length) : content,
                    BiasOf = module,
                });
            }
        }

        FoldedNorms folded = new(model, sites);
        bool isGenAi = sites.Modules.Any(m => m.Weight.Name.Contains(".MatMul.weight", StringComparison.Ordinal));
        foreach (Value value in model.Graph.Initializers.Where(v => v.IsUsed && !claimed.Contains(v)))
        {
            if (NameOfOther(value) is { } name)
            {
                Add(new ModelParameter
                {
                    Name = isGenAi ? ModuleNaming.UndoBuilderNames(name) : name,
                    Value = value,
                    Content = value.Initializer!,
                    Offset = IsNormWeight(name, value) ? folded.OffsetOf(value, isGenAi) : 0,
                });
            }
        }

        return parameters;

        void Add(ModelParameter parameter)
        {
            if (names.Add(parameter.Name))
            {
                parameters.Add(parameter);
            }
        }
    }

    /// <summary>Whether PyTorch holds the module's weight [in, out], as Hugging Face's Conv1D does.</summary>
    public static bool IsConv1D(LinearSite site)
    {
        if (site.Kind != LinearKind.Linear || site.IsOutByIn || site.IsWeightLeft || !InitializerNames.IsParameterPath(site.Weight.Name))
        {
            return false;
        }

        // Only Conv1D calls addmm with the parameter itself; exporters that transpose a Linear's weight rename it or
        // write MatMul. ONNX Runtime's optimizer turns the former into the latter, where GPT-2's names tell.
        string[] segments = site.ModulePath.Split('.');
        return site.Node.Is("Gemm") || (Conv1DNames.Contains(segments[^1]) && segments.Contains("h"));
    }

    private static bool IsTransposed(LinearSite site) => site.Kind switch
    {
        LinearKind.Linear => site.IsOutByIn == IsConv1D(site),
        LinearKind.Embedding => site.IsOutByIn,
        _ => false,
    };

    // The parameter's own name where it belongs to the module ('attn.in_proj_weight'), else path and role.
    private static string NameOf(Value value, string path, string role)
    {
        string clean = InitializerNames.Clean(value.Name);
        return InitializerNames.IsParameterPath(value.Name) && InitializerNames.ModulePath(clean) == path ? clean : $"{path}.{role}";
    }

    // A parameter of a norm or another layer that is no linear, or null if the initializer is a constant.
    private static string? NameOfOther(Value value)
    {
        ITensor content = value.Initializer!;
        if (!content.ElementType.IsFloatingPoint() || InitializerNames.IsBuffer(value.Name) || IsStatistic(value))
        {
            return null;
        }

        if (InitializerNames.IsParameterPath(value.Name))
        {
            return content.ElementCount() > 1 || InitializerNames.EndsAsWeight(value.Name) || InitializerNames.EndsAsBias(value.Name)
                ? InitializerNames.Clean(value.Name)
                : null;
        }

        // Exporters that decompose a norm, or compute with its parameter, lose the parameter's name, but not the module of the
        // nodes. What became of it by anything but Gemma's 1 + weight cannot be undone: such a value keeps its own name.
        if (content.ElementCount() > 1
            && content.Dims.Count(d => d != 1) == 1
            && value.Uses is [Use use]
            && RoleOf(use) is { } role
            && NodeScopes.Of(use.Node)?.Path is { } path
            && Norm().IsMatch(path))
        {
            return OtherResult().IsMatch(value.Name) ? $"{path}.{value.Name}" : $"{path}.{role}";
        }

        return null;
    }

    private static string? RoleOf(Use use) => (use.Node.Domain, use.Node.OpType, use.Index) switch
    {
        ("", "Mul", _) or ("", "LayerNormalization" or "RMSNormalization" or "SimplifiedLayerNormalization", 1) => "weight",
        ("", "Add", _) or ("", "LayerNormalization", 2) => "bias",
        _ => null,
    };

    private static bool IsNormWeight(string name, Value value) =>
        InitializerNames.EndsAsWeight(name) && value.Initializer!.Dims.Count(d => d != 1) <= 1 && Norm().IsMatch(InitializerNames.ModulePath(name));

    private static bool IsStatistic(Value value) => value.Uses.Any(u =>
        (u.Node.Is("BatchNormalization") && u.Index >= 3) || (u.Node.OpType.Contains("QuantizeLinear", StringComparison.Ordinal) && u.Index >= 1));

    [GeneratedRegex(@"(^|\.)([^.]*norm[^.]*|([^.]*_)?(ln|gn|bn)[_\d]*)$", RegexOptions.IgnoreCase)]
    private static partial Regex Norm();

    [GeneratedRegex(@"^(mul|sub)_\d+$")]
    private static partial Regex OtherResult();
}
