using OrtQLoRA.Graph.Adapters.Targets;
using OrtQLoRA.Graph.IR;
using OrtQLoRA.Graph.Linears;

namespace OrtQLoRA.Graph.Tests.Adapters.Targets;

[TestClass]
public sealed class TargetModuleMatcherTests
{
    private static readonly LinearSites Sites = Decoder();

    [TestMethod]
    public void Select_ListOfEndings_MatchesWholeSegments()
    {
        AssertPaths(["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"], Options("q_proj"));
        Assert.ThrowsExactly<ConfigurationException>(() => Select(Options("_proj")));
    }

    [TestMethod]
    public void Select_FullPath_MatchesWhateverTheLayersAre()
    {
        TargetOptions options = Options("model.layers.0.mlp.down_proj", "q_proj") with { LayersToTransform = [1] };

        AssertPaths(["model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"], options);
    }

    [TestMethod]
    public void Select_Regex_MustMatchTheWholePath()
    {
        AssertPaths(["model.layers.1.self_attn.q_proj"], Regex(@"model\.layers\.1\..*q_proj"));
        Assert.ThrowsExactly<ConfigurationException>(() => Select(Regex("q_proj")));
        Assert.ThrowsExactly<ConfigurationException>(() => Select(Regex(@".*\.q_pro")));
        AssertPaths(["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"], Regex(@"(?P<p>.*)\.q_proj\Z"));
        AssertPaths(["model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"], Regex(@".*(?<!q_proj)(?<=down_proj)"));
    }

    [TestMethod]
    public void Select_AllLinear_LeavesOutHeadAndEmbedding()
    {
        string[] paths = [.. Select(new TargetOptions { TargetModules = ModuleSelector.OfRegex("All-Linear") }).Select(m => m.Path)];

        Assert.HasCount(4, paths);
        Assert.IsTrue(paths.All(p => p.StartsWith("model.layers.", StringComparison.Ordinal)));
    }

    [TestMethod]
    public void Select_EmbeddingAndHeadByName_AreTaken() => AssertPaths(["model.embed_tokens", "lm_head"], Options("embed_tokens", "lm_head"));

    [TestMethod]
    public void Select_ExcludeModules_Wins()
    {
        AssertPaths(["model.layers.1.self_attn.q_proj"], Options("q_proj") with { ExcludeModules = ModuleSelector.OfRegex(@".*layers\.0\..*") });
        AssertPaths(["model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"], Options("q_proj", "down_proj") with { ExcludeModules = ModuleSelector.OfNames("q_proj") });
    }

    [TestMethod]
    public void Select_ModulesToSave_AreNeverTargets()
    {
        AssertPaths(["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"], Options("q_proj", "lm_head") with { ModulesToSave = ["lm_head"] });
        AssertPaths(["model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"], Options("q_proj", "down_proj") with { ModulesToSave = ["self_attn"] });
    }

    [TestMethod]
    public void Select_LayersToTransform_ReadsTheNumberBehindThePattern()
    {
        AssertPaths(["model.layers.1.self_attn.q_proj"], Options("q_proj") with { LayersToTransform = [1, 7] });
        AssertPaths(["model.layers.1.self_attn.q_proj"], Options("q_proj") with { LayersToTransform = [1], LayersPattern = ["layers"] });
        Assert.ThrowsExactly<ConfigurationException>(() => Select(Options("q_proj") with { LayersToTransform = [1], LayersPattern = ["h"] }));
    }

    [TestMethod]
    public void Constructor_LayersWithRegex_IsRefused()
    {
        ConfigurationException error = Assert.ThrowsExactly<ConfigurationException>(() => Select(Regex(".*q_proj") with { LayersToTransform = [0] }));

        StringAssert.Contains(error.Message, "layers_to_transform");
    }

    [TestMethod]
    public void Select_NothingMatches_ListsNearMisses()
    {
        ConfigurationException error = Assert.ThrowsExactly<ConfigurationException>(() => Select(Options("q_porj")));

        StringAssert.Contains(error.Message, "model.layers.0.self_attn.q_proj");
        StringAssert.Contains(error.Message, "q_proj (x2)");
    }

    [TestMethod]
    [DataRow("(")]
    [DataRow("[a-")]
    public void Select_InvalidRegex_IsNamed(string pattern)
    {
        ConfigurationException error = Assert.ThrowsExactly<ConfigurationException>(() => Select(Regex(pattern)));

        StringAssert.Contains(error.Message, pattern);
    }

    [TestMethod]
    public void Select_CatastrophicRegex_EndsWithAMessage()
    {
        // The look-ahead forces the backtracking engine; the nested repetition then never ends by itself.
        ConfigurationException error = Assert.ThrowsExactly<ConfigurationException>(() => Select(Regex(@"(?=.)(([a-z._0-9]+)*)+!")));

        StringAssert.Contains(error.Message, "target_modules");
    }

    [TestMethod]
    public void ValueFor_FirstKeyThatMatchesAtTheEnd_Wins()
    {
        ModulePatternTable<int> table = new("rank_pattern", new Dictionary<string, int> { ["q_proj"] = 6, [@"layers\.1\.self_attn\.q_proj"] = 2, ["^lm_head"] = 5, ["down"] = 9 });

        Assert.AreEqual(6, table.ValueFor("model.layers.1.self_attn.q_proj", 4));
        Assert.AreEqual(5, table.ValueFor("lm_head", 4));
        Assert.AreEqual(4, table.ValueFor("model.lm_head", 4));
        Assert.AreEqual(4, table.ValueFor("model.layers.0.mlp.down_proj", 4));
        Assert.AreEqual(4, table.ValueFor("model.layers.0.my_q_proj", 4));
    }

    [TestMethod]
    public void Shorten_ManyPaths_GivesTheFewEndingsThatMeanTheSame()
    {
        string[] targets = [.. Enumerable.Range(0, 12).SelectMany(i => (string[])[$"model.layers.{i}.attn.q", $"model.layers.{i}.mlp.fc"])];

        IReadOnlyList<string> shortened = TargetModuleShortening.Shorten(targets, ["model", "model.other.q"]);

        CollectionAssert.AreEquivalent(new[] { "fc", "attn.q" }, shortened.ToArray());
    }

    [TestMethod]
    public void Shorten_FewPaths_StayAsTheyAre() => CollectionAssert.AreEqual(new[] { "a.q", "b.q" }, TargetModuleShortening.Shorten(["a.q", "b.q"], []).ToArray());

    private static TargetOptions Options(params string[] names) => new() { TargetModules = ModuleSelector.OfNames(names) };

    private static TargetOptions Regex(string pattern) => new() { TargetModules = ModuleSelector.OfRegex(pattern) };

    private static IReadOnlyList<LinearModule> Select(TargetOptions options) => new TargetModuleMatcher(options).Select(Sites);

    private static void AssertPaths(string[] expected, TargetOptions options) =>
        CollectionAssert.AreEqual(expected, Select(options).Select(m => m.Path).ToArray());

    private static LinearSites Decoder()
    {
        OnnxGraph graph = new("decoder");
        Value ids = graph.AddInput("input_ids", DataType.Int64, null);
        Value x = Emit("Gather", "model/embed_tokens", graph.AddInitializer("model.embed_tokens.weight", Floats(9, 4)), ids);
        for (int layer = 0; layer < 2; layer++)
        {
            foreach (string name in (string[])["self_attn.q_proj", "mlp.down_proj"])
            {
                x = Emit("MatMul", $"/model/layers.{layer}/{name.Replace('.', '/')}", x, graph.AddInitializer($"onnx::MatMul_{graph.NodeCount}", Floats(4, 4)));
            }
        }

        graph.AddOutput(Emit("MatMul", "/lm_head", x, graph.AddInitializer("lm_head.weight", Floats(4, 9))));
        return LinearFinder.Find(new OnnxModel(graph) { Opset = 17 });

        Value Emit(string opType, string scope, Value a, Value b)
        {
            Node node = graph.AddNode(opType, [a, b], scope + "/" + opType);
            return node.AddOutput(graph.Names.Reserve(scope + "_out"));
        }

        static DenseTensor Floats(long rows, long columns) => DenseTensor.Of([rows, columns], new float[rows * columns]);
    }
}
