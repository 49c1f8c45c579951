using System.Runtime.InteropServices;
using System.Text.Json;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Quantization.Eetq;

/// <summary>One case of the vectors that EETQ's own CPU quantizer computed.</summary>
internal sealed record EetqFixture(string Name, int K, int N, int M)
{
    public static IEnumerable<EetqFixture> All()
    {
        using JsonDocument manifest = JsonDocument.Parse(File.ReadAllBytes(Fixtures.Require("eetq/manifest.json")));
        return [.. manifest.RootElement.GetProperty("cases").EnumerateArray().Select(c => new EetqFixture(
            c.GetProperty("name").GetString()!, c.GetProperty(nameof(K)).GetInt32(), c.GetProperty(nameof(N)).GetInt32(), c.GetProperty(nameof(M)).GetInt32()))];
    }

    public float[] Weights => Read<float>("w.f32");

    public T[] Read<T>(string suffix)
        where T : unmanaged =>
        MemoryMarshal.Cast<byte, T>(File.ReadAllBytes(Fixtures.Require($"eetq/{Name}.{suffix}"))).ToArray();
}
