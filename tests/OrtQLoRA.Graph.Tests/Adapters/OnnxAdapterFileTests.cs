using OrtQLoRA.Graph.Adapters.Onnx;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Adapters;

/// <summary>ONNX Runtime's adapter files: the same tensors back, and nothing but an error from damaged ones.</summary>
[TestClass]
public sealed class OnnxAdapterFileTests
{
    [TestMethod]
    public void Read_WhatWasWritten_IsTheSame()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("a.onnx_adapter");
        KeyValuePair<string, ITensor>[] tensors =
        [
            new("m.lora_A.weight", DenseTensor.Of([3, 2], [1f, -2f, 3.5f, 0f, float.Epsilon, 7f])),
            new("m.lora_B.weight", DenseTensor.Of([2, 1], [(Half)1, (Half)(-0.5)])),
            new("empty", DenseTensor.Of([4, 0], Array.Empty<float>())),
            new("q", DenseTensor.Of([5], [(sbyte)1, (sbyte)2, (sbyte)3, (sbyte)(-128), (sbyte)127])),
        ];

        OnnxAdapterFile.Write(path, tensors);
        IReadOnlyDictionary<string, ITensor> read = OnnxAdapterFile.Read(path);

        CollectionAssert.AreEqual(tensors.Select(t => t.Key).ToArray(), read.Keys.ToArray());
        foreach ((string name, ITensor tensor) in tensors)
        {
            Assert.AreEqual(tensor.ElementType, read[name].ElementType);
            CollectionAssert.AreEqual(tensor.Dims.ToArray(), read[name].Dims.ToArray());
            CollectionAssert.AreEqual(tensor.ToBytes(), read[name].ToBytes());
        }
    }

    [TestMethod]
    public void Read_DamagedFiles_AreRefusedOrReadWhole()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("a.onnx_adapter");
        OnnxAdapterFile.Write(path, [new("m.lora_A.weight", DenseTensor.Of([3, 2], new float[6])), new("m.lora_B.weight", DenseTensor.Of([2, 3], new float[6]))]);
        byte[] good = File.ReadAllBytes(path);
        int refused = 0;
        for (int length = 0; length < good.Length; length++)
        {
            refused += Refuses(path, good[..length]) ? 1 : 0;
        }

        Assert.AreEqual(good.Length, refused, "A file that was cut off is refused, wherever it was cut.");
        foreach (byte value in (byte[])[0, 1, 0x7F, 0x80, 0xFF])
        {
            for (int at = 0; at < good.Length; at++)
            {
                byte[] damaged = [.. good];
                damaged[at] = value;
                refused += Refuses(path, damaged) ? 1 : 0;
            }
        }

        Assert.IsGreaterThan(good.Length, refused, "Most damage to offsets is noticed.");
    }

    // Anything but the file's own error would fail the test.
    private static bool Refuses(string path, byte[] content)
    {
        File.WriteAllBytes(path, content);
        try
        {
            OnnxAdapterFile.Read(path);
            return false;
        }
        catch (ModelFormatException e)
        {
            StringAssert.Contains(e.Message, Path.GetFileName(path));
            return true;
        }
    }
}
