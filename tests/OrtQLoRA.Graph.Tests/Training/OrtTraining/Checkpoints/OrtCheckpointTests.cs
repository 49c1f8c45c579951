using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Training.OrtTraining.Checkpoints;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Graph.Tests.Training.OrtTraining.Checkpoints;

[TestClass]
public sealed class OrtCheckpointTests
{
    private const string Folder = "ort-artifacts";

    public static IEnumerable<object[]> RecordedCheckpoints =>
        from path in Fixtures.Files("", Folder)
        where Path.GetFileName(path).StartsWith("checkpoint", StringComparison.Ordinal)
        select new object[] { path };

    [TestMethod]
    [DataRow(1)]
    [DataRow(2)]
    public void Write_AllThatACheckpointHolds_IsReadBack(int version)
    {
        using TemporaryFolder folder = new();
        using OrtCheckpoint written = Sample(version);
        OrtCheckpointWriter.Write(folder.File("checkpoint"), written);
        using OrtCheckpoint read = OrtCheckpointReader.Read(folder.File("checkpoint"));
        AssertEqual(written, read);
        Assert.AreEqual(version, read.Version);
    }

    [TestMethod]
    public void Write_AboveTheThreshold_LaysLargeTensorsBesideTheFile()
    {
        using TemporaryFolder folder = new();
        using OrtCheckpoint written = Sample();
        OrtCheckpointWriter.Write(folder.File("checkpoint"), written, externalDataThreshold: 64);
        Assert.IsTrue(File.Exists(folder.File("checkpoint.data")));
        using OrtCheckpoint read = OrtCheckpointReader.Read(folder.File("checkpoint"));
        AssertEqual(written, read);
        Assert.IsInstanceOfType<ExternalTensor>(read.Trainable[0].Value);
        Assert.IsInstanceOfType<DenseTensor>(read.Trainable[1].Value, "Small tensors stay in the file.");
    }

    [TestMethod]
    public void Read_DataFileCutShort_SaysWhichTensor()
    {
        using TemporaryFolder folder = new();
        using OrtCheckpoint written = Sample();
        OrtCheckpointWriter.Write(folder.File("checkpoint"), written, externalDataThreshold: 64);
        using (FileStream data = new(folder.File("checkpoint.data"), FileMode.Open))
        {
            data.SetLength(data.Length - 1);
        }

        ModelFormatException error = Assert.ThrowsExactly<ModelFormatException>(() => OrtCheckpointReader.Read(folder.File("checkpoint")));
        StringAssert.Contains(error.Message, "layer.weight");
    }

    [TestMethod]
    public void Write_Nominal_KeepsNamesAndTypes()
    {
        using TemporaryFolder folder = new();
        using OrtCheckpoint written = new()
        {
            IsNominal = true,
            Trainable = [new CheckpointParameter("w", DataType.Float, null)],
            Frozen = [new CheckpointParameter("f", DataType.Float16, null)],
        };
        OrtCheckpointWriter.Write(folder.File("checkpoint"), written);
        using OrtCheckpoint read = OrtCheckpointReader.Read(folder.File("checkpoint"));
        Assert.IsTrue(read.IsNominal);
        CollectionAssert.AreEqual(written.Trainable.ToArray(), read.Trainable.ToArray());
        CollectionAssert.AreEqual(written.Frozen.ToArray(), read.Frozen.ToArray());
    }

    [TestMethod]
    public void Write_WhatTheFormatHasNoPlaceFor_ListsEveryFault()
    {
        using TemporaryFolder folder = new();
        using OrtCheckpoint checkpoint = new()
        {
            Version = 3,
            Trainable = [new CheckpointParameter("w", DataType.Float, null), CheckpointParameter.Of("w", DenseTensor.Vector(1f))],
            Properties = new Dictionary<string, object> { ["p"] = 1 },
        };
        ConfigurationException error = Assert.ThrowsExactly<ConfigurationException>(() => OrtCheckpointWriter.Write(folder.File("checkpoint"), checkpoint));
        foreach (string part in new[] { "not 3", "'w' has no value", "named 'w'", "Int32" })
        {
            StringAssert.Contains(error.Message, part);
        }
    }

    [TestMethod]
    [DynamicData(nameof(RecordedCheckpoints))]
    public void Read_CheckpointOfTheRuntime_IsWrittenBackEqual(string path)
    {
        using OrtCheckpoint recorded = OrtCheckpointReader.Read(Fixtures.Require(path));
        Assert.IsNotEmpty(recorded.Trainable);
        using TemporaryFolder folder = new();
        OrtCheckpointWriter.Write(folder.File("checkpoint"), recorded);
        using OrtCheckpoint read = OrtCheckpointReader.Read(folder.File("checkpoint"));
        AssertEqual(recorded, read);
    }

    [TestMethod]
    public void Read_AnyByteChanged_GivesOurErrorOrACheckpoint()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("checkpoint");
        using (OrtCheckpoint sample = Sample())
        {
            OrtCheckpointWriter.Write(path, sample);
        }

        byte[] original = File.ReadAllBytes(path);
        int refused = 0;
        foreach (int offset in Enumerable.Range(0, original.Length))
        {
            foreach (byte value in new byte[] { 0, 1, 0x80, 0xFF, (byte)(original[offset] + 1) })
            {
                byte[] changed = [.. original];
                changed[offset] = value;
                refused += ReadsOrIsRefused(path, changed) ? 0 : 1;
            }
        }

        Assert.IsGreaterThan(original.Length, refused, "Most changes of offsets and lengths must be noticed.");
    }

    [TestMethod]
    public void Read_CutOrScrambled_GivesOurErrorOrACheckpoint()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("checkpoint");
        using (OrtCheckpoint sample = Sample())
        {
            OrtCheckpointWriter.Write(path, sample);
        }

        byte[] original = File.ReadAllBytes(path);
        const int padding = 8;
        for (int length = 1; length < original.Length; length++)
        {
            bool reads = ReadsOrIsRefused(path, original[..length]);
            Assert.IsFalse(reads && length < original.Length - padding, $"Cut to {length} of {original.Length} bytes.");
        }

        Random random = new(1);
        for (int i = 0; i < 1000; i++)
        {
            ReadsOrIsRefused(path, ByteMutator.Mutate(original, random));
        }
    }

    /// <summary>Reads bytes as a checkpoint, every tensor of it; any error but ours comes out.</summary>
    private static bool ReadsOrIsRefused(string path, byte[] bytes)
    {
        File.WriteAllBytes(path, bytes);
        try
        {
            using OrtCheckpoint checkpoint = OrtCheckpointReader.Read(path);
            foreach (CheckpointParameter parameter in checkpoint.Trainable.Concat(checkpoint.Frozen))
            {
                parameter.Value?.ToBytes();
            }

            return true;
        }
        catch (ModelFormatException)
        {
            return false;
        }
    }

    private static OrtCheckpoint Sample(int version = OrtCheckpoint.CurrentVersion) => new()
    {
        Version = version,
        Trainable =
        [
            CheckpointParameter.Of("layer.weight", DenseTensor.Of([5, 7], [.. Enumerable.Range(0, 35).Select(i => i * 0.25f)])),
            CheckpointParameter.Of("layer.bias", DenseTensor.Vector(1f, -2f, 3f)),
            CheckpointParameter.Of("scale", DenseTensor.Scalar(0.5f)),
        ],
        Frozen = [CheckpointParameter.Of("empty", DenseTensor.Of([0, 3], Array.Empty<float>())), CheckpointParameter.Of("ids", DenseTensor.Vector(1L, 2L))],
        OptimizerGroups =
        [
            new OptimizerGroupState("group0", 7, 0.01f, new Dictionary<string, IReadOnlyDictionary<string, ITensor>>
            {
                ["layer.bias"] = new Dictionary<string, ITensor> { ["momentum0"] = DenseTensor.Vector(1f, 2f, 3f), ["momentum1"] = DenseTensor.Vector(4f, 5f, 6f) },
            }),
        ],
        Properties = new Dictionary<string, object> { ["epoch"] = 3L, ["best"] = 0.5f, ["tag"] = "zwölf", ["other"] = -1L },
    };

    private static void AssertEqual(OrtCheckpoint expected, OrtCheckpoint actual)
    {
        AssertEqual(expected.Trainable, actual.Trainable);
        AssertEqual(expected.Frozen, actual.Frozen);
        Assert.HasCount(expected.OptimizerGroups.Count, actual.OptimizerGroups);
        foreach ((OptimizerGroupState left, OptimizerGroupState right) in expected.OptimizerGroups.Zip(actual.OptimizerGroups))
        {
            Assert.AreEqual((left.Name, left.Step, left.InitialLearningRate), (right.Name, right.Step, right.InitialLearningRate));
            CollectionAssert.AreEqual(left.Moments.Keys.ToArray(), right.Moments.Keys.ToArray());
            foreach ((string parameter, IReadOnlyDictionary<string, ITensor> moments) in left.Moments)
            {
                AssertEqual(
                    [.. moments.Select(m => CheckpointParameter.Of(m.Key, m.Value))],
                    [.. right.Moments[parameter].Select(m => CheckpointParameter.Of(m.Key, m.Value))]);
            }
        }

        CollectionAssert.AreEquivalent(expected.Properties.ToArray(), actual.Properties.ToArray());
    }

    private static void AssertEqual(IReadOnlyList<CheckpointParameter> expected, IReadOnlyList<CheckpointParameter> actual)
    {
        CollectionAssert.AreEqual(expected.Select(p => p.Name).ToArray(), actual.Select(p => p.Name).ToArray());
        foreach ((CheckpointParameter left, CheckpointParameter right) in expected.Zip(actual))
        {
            Assert.AreEqual(left.ElementType, right.ElementType);
            CollectionAssert.AreEqual(left.Value!.Dims.ToArray(), right.Value!.Dims.ToArray());
            CollectionAssert.AreEqual(left.Value!.ToBytes(), right.Value!.ToBytes());
        }
    }
}
