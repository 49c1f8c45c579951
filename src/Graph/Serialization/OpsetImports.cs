using Google.Protobuf.Collections;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Serialization.Protos;

namespace OrtQLoRA.Graph.Serialization;

/// <summary>Reads and writes the operator sets that a model or function uses.</summary>
internal static class OpsetImports
{
    /// <summary>Moves imports out of a message.</summary>
    public static void Read(RepeatedField<OperatorSetIdProto> protos, IDictionary<string, long> imports, string owner, ReadContext context)
    {
        foreach (OperatorSetIdProto proto in protos)
        {
            string domain = Node.NormaliseDomain(proto.Domain);
            if (!imports.TryAdd(domain, proto.Version) && imports[domain] != proto.Version)
            {
                throw context.Error($"{owner} imports versions {imports[domain]} and {proto.Version} of the operators of domain '{domain}'. Only one can hold.");
            }
        }

        protos.Clear();
    }

    /// <summary>Puts imports into a message.</summary>
    public static void Write(IDictionary<string, long> imports, RepeatedField<OperatorSetIdProto> protos)
    {
        foreach ((string domain, long version) in imports)
        {
            protos.Add(new OperatorSetIdProto { Domain = domain, Version = version });
        }
    }
}
