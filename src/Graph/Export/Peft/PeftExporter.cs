using OrtQLoRA.Graph.Adapters;
using OrtQLoRA.Graph.Adapters.Peft;
using OrtQLoRA.Graph.Export.Layout;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Export.Peft;

/// <summary>Writes an adapter as PEFT does, under the keys of the model it fits, and says what servers make of it.</summary>
internal static class PeftExporter
{
    /// <summary>Writes the folder.</summary>
    /// <param name="model">The base model; not changed.</param>
    /// <param name="adapter">The adapter with method and configuration.</param>
    /// <param name="folder">The folder to write.</param>
    /// <param name="precision">Element type of the tensors; null for each tensor's own.</param>
    /// <returns>What PEFT and servers will not take as it is.</returns>
    /// <exception cref="ConfigurationException">The adapter does not fit the model; every mismatch is listed.</exception>
    public static IReadOnlyList<string> Write(OnnxModel model, AdapterWeights adapter, string folder, DataType? precision)
    {
        (IAdapterMethod method, AdapterConfig config) = adapter.RequireConfig();
        OnnxModel copy = ModelCloner.Clone(model);
        LinearSites sites = LinearFinder.Find(DenseWeights.ExpandTrained(copy, config) ? copy : model);
        AdapterPlan plan = method.Plan(sites, config);
        IReadOnlyDictionary<string, ITensor> tensors = new InitialValues(adapter, plan).Tensors;
        if (precision is { } type)
        {
            tensors = tensors.ToDictionary(t => t.Key, t => t.Value.ElementType.IsFloatingPoint() ? ConvertedTensor.To(t.Value, type) : t.Value, StringComparer.Ordinal);
        }

        OutputFolder.Create(folder);
        PeftAdapterFolder.Write(folder, new AdapterWeights(method, plan.Config, tensors, adapter.Source));
        return ServerLimits.Warnings(method, plan, sites);
    }
}
