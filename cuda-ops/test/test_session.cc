// The ops inside ONNX Runtime: what a model sees.

#include <dlfcn.h>

#include <functional>
#include <set>
#include <sstream>

#include "common/error.h"
#include "ortqlora.h"
#include "test/matmul_int8_reference.h"
#include "test/ort_session.h"
#include "test/test.h"

namespace ortqlora::test {
namespace {

// An empty tensor has no bytes, and memcpy takes no null pointer.
template <typename T>
std::vector<T> Elements(const Tensor& tensor) {
  std::vector<T> values(tensor.data.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

std::vector<float> Floats(const Tensor& tensor) {
  if (tensor.type == kFloat32) return Elements<float>(tensor);
  std::vector<float> values;
  for (uint16_t half : Elements<uint16_t>(tensor)) values.push_back(HalfToFloat(half));
  return values;
}

Tensor FloatTensor(const std::string& name, Type type, const std::vector<int64_t>& shape,
                   const std::vector<float>& values) {
  if (type == kFloat32) return {name, type, shape, Raw(values)};
  std::vector<uint16_t> halves;
  for (float value : values) halves.push_back(FloatToHalf(value));
  return {name, type, shape, Raw(halves)};
}

constexpr const char* kLayouts[] = {"plain", "eetq_sm80", "panel64"};

Tensor WeightTensor(const Weight& w, const std::string& layout) {
  if (layout == "plain") return {"q", kInt8, {w.k, w.n}, Raw(w.q)};
  if (layout == "panel64") {
    std::vector<uint8_t> panels(
        static_cast<size_t>(WeightSource{nullptr, WeightLayout::kPanel64, w.k, w.n}.size()));
    PackPanel64(w.source(), panels.data());
    return {"q", kUint8, {static_cast<int64_t>(panels.size())}, Raw(panels)};
  }
  return {"q", kUint8, {RoundUp(w.k, 64), RoundUp(w.n, 64)}, Raw(w.Eetq())};
}

NodeWriter OpNode(const std::string& op, const Weight& w, const std::string& layout,
                  const std::string& compute, const std::vector<std::string>& inputs,
                  const std::string& output) {
  NodeWriter node(op, "/layer/" + op, inputs, {output});
  node.Set("K", w.k).Set("N", w.n).Set("layout", layout);
  if (op != "DequantizeInt8") node.Set("compute", compute);
  return node;
}

struct Variant {
  Type rows = kFloat32, scale = kFloat32;
  std::string layout = "plain";
  bool bias = false, constant = true;
  std::string compute = "fp32";
};

std::string MatMulModel(const std::string& op, const Weight& w, const Variant& v) {
  const bool forward = op == "MatMulInt8";
  std::vector<std::string> inputs = {"x", "q", "scale"};
  if (v.bias) inputs.push_back("bias");
  ModelWriter model;
  model.Node(OpNode(op, w, v.layout, v.compute, inputs, "y"));
  model.Input({"x", v.rows, {-1, 3, forward ? w.k : w.n}, ""});
  const Tensor q = WeightTensor(w, v.layout);
  v.constant ? model.Initializer(q) : model.Input(q);
  model.Initializer(FloatTensor("scale", v.scale, {w.n}, w.scale));
  if (v.bias) model.Initializer(FloatTensor("bias", v.rows, {w.n}, w.bias));
  model.Output({"y", v.rows, {-1, 3, forward ? w.n : w.k}, ""});
  return model.Write();
}

template <typename Function>
Function Entry(const char* name) {
  static void* const library = LoadLibraryOrThrow("ORTQLORA_TEST_OPS_LIBRARY", ORTQLORA_OPS_LIBRARY);
  return reinterpret_cast<Function>(dlsym(library, name));
}

int64_t PackedCount() {
  int64_t count = -1, bytes = -1;
  Entry<decltype(&ortqlora_packed_weights)>("ortqlora_packed_weights")(&count, &bytes, nullptr, 0);
  return count;
}

std::vector<std::string> OpNames() {
  char names[4096];
  int64_t required = 0;
  const auto op_names = Entry<decltype(&ortqlora_op_names)>("ortqlora_op_names");
  EXPECT_EQ(op_names(names, sizeof names, &required, nullptr, 0), ORTQLORA_OK);
  std::istringstream lines(names);
  std::vector<std::string> result;
  for (std::string line; std::getline(lines, line);) result.push_back(line);
  return result;
}

TEST(MatMulAndGradMatchTheReference) {
  std::printf("ONNX Runtime %s\n", Ort::Get().version().c_str());
  const Weight w(100, 70, 5);
  for (const std::string op : {"MatMulInt8", "MatMulInt8Grad"}) {
    const Direction direction = op == "MatMulInt8" ? Direction::kForward : Direction::kGradient;
    const int64_t width = direction == Direction::kForward ? w.k : w.n;
    std::vector<Variant> variants;
    for (Type rows : {kFloat32, kFloat16}) {
      for (const std::string layout : kLayouts) {
        for (bool flag : {false, true}) {
          variants.push_back(
              {rows, flag ? kFloat16 : kFloat32, layout, flag && op == "MatMulInt8", true, "auto"});
        }
        variants.push_back({rows, kFloat16, layout, false, false, "fp32"});
      }
    }
    for (const Variant& v : variants) {
      Context() = Concat(op, " rows type ", int{v.rows}, " scale type ", int{v.scale}, " ", v.layout,
                         v.bias ? " bias" : "", v.constant ? "" : " weight as input");
      Session session(MatMulModel(op, w, v));
      std::vector<float> x = RandomRows(6, width, 3);
      for (float& value : x) value = HalfToFloat(FloatToHalf(value));
      std::vector<Tensor> inputs = {FloatTensor("x", v.rows, {2, 3, width}, x)};
      if (!v.constant) inputs.push_back(WeightTensor(w, v.layout));
      const Tensor y = session.Run(inputs, "y");
      EXPECT_TRUE((y.shape == std::vector<int64_t>{2, 3, w.k + w.n - width}));
      EXPECT_AT_MOST(RelativeError(Floats(y), Reference(w, direction, x, 6, v.bias)), 1e-3);
    }
  }
}

TEST(DequantizeEqualsMatMulOfTheIdentity) {
  const Weight w(90, 72, 5);
  std::vector<float> identity(static_cast<size_t>(90 * 90), 0.0f),
      identity_n(static_cast<size_t>(72 * 72), 0.0f);
  for (size_t i = 0; i < 90; ++i) identity[i * 91] = 1;
  for (size_t i = 0; i < 72; ++i) identity_n[i * 73] = 1;
  for (Type type : {kFloat32, kFloat16}) {
    for (const std::string layout : kLayouts) {
      ModelWriter model;
      model.Node(OpNode("DequantizeInt8", w, layout, "", {"q", "scale"}, "w"));
      model.Initializer(WeightTensor(w, layout))
          .Input({"scale", type, {w.n}, ""})
          .Output({"w", type, {w.k, w.n}, ""});
      const Tensor what = Session(model.Write()).Run({FloatTensor("scale", type, {w.n}, w.scale)}, "w");

      const Variant variant{type, type, layout, false, true, "fp32"};
      Session forward(MatMulModel("MatMulInt8", w, variant));
      EXPECT_TRUE(forward.Run({FloatTensor("x", type, {30, 3, w.k}, identity)}, "y").data == what.data);

      Session gradient(MatMulModel("MatMulInt8Grad", w, variant));
      const Tensor rows = FloatTensor("x", type, {24, 3, w.n}, identity_n);
      const std::vector<float> transposed = Floats(gradient.Run({rows}, "y"));
      const std::vector<float> dense = Floats(what);
      for (size_t k = 0; k < 90; ++k) {
        for (size_t n = 0; n < 72; ++n) EXPECT_EQ(transposed[n * 90 + k], dense[k * 72 + n]);
      }
    }
  }
}

TEST(OneCopyServesForwardGradientAndASecondSession) {
  EXPECT_EQ(PackedCount(), 0);
  const Weight w(128, 192, 6), other(128, 192, 7);
  const auto model = [](const Weight& weight) {
    ModelWriter writer;
    writer.Node(OpNode("MatMulInt8", weight, "plain", "auto", {"x", "q", "scale"}, "h"));
    writer.Node(OpNode("MatMulInt8Grad", weight, "plain", "auto", {"h", "q", "scale"}, "y"));
    writer.Initializer(WeightTensor(weight, "plain"))
        .Initializer(FloatTensor("scale", kFloat16, {192}, weight.scale));
    writer.Input({"x", kFloat32, {-1, 128}, ""}).Output({"y", kFloat32, {-1, 128}, ""});
    return writer.Write();
  };
  {
    Session train(model(w));
    EXPECT_EQ(PackedCount(), 1);
    {
      Session eval(model(w)), third(model(other));
      EXPECT_EQ(PackedCount(), 2);
    }
    EXPECT_EQ(PackedCount(), 1);
    EXPECT_EQ(train.Run({FloatTensor("x", kFloat32, {2, 128}, RandomRows(2, 128, 1))}, "y").shape[1], 128);
  }
  EXPECT_EQ(PackedCount(), 0);
}

TEST(PanelsAreReadWhereTheyAre) {
  const Weight w(128, 192, 6);
  const std::vector<float> x = RandomRows(6, 128, 1);
  const auto run = [&](const std::string& layout, int64_t packed) {
    Session session(MatMulModel("MatMulInt8", w, {kFloat32, kFloat32, layout, false, true, "int8"}));
    EXPECT_EQ(PackedCount(), packed);
    return session.Run({FloatTensor("x", kFloat32, {2, 3, 128}, x)}, "y").data;
  };
  EXPECT_TRUE(run("panel64", 0) == run("plain", 1));
}

TEST(ThreadCountDoesNotChangeBits) {
  const Weight w(512, 320, 6);
  for (const std::string op : {"MatMulInt8", "MatMulInt8Grad"}) {
    const int64_t width = op == "MatMulInt8" ? w.k : w.n;
    for (const std::string compute : {"fp32", "bf16", "int16", "int8"}) {
      const std::string model = MatMulModel(op, w, {kFloat32, kFloat32, "plain", false, true, compute});
      const Tensor x = FloatTensor("x", kFloat32, {100, 3, width}, RandomRows(300, width, 2));
      EXPECT_TRUE(Session(model, 1).Run({x}, "y").data == Session(model, 2).Run({x}, "y").data);
    }
  }
}

TEST(ZeroRowsGiveZeroRows) {
  const Weight w(64, 32, 6);
  Session session(MatMulModel("MatMulInt8", w, {}));
  EXPECT_TRUE((session.Run({{"x", kFloat32, {0, 3, 64}, ""}}, "y").shape == std::vector<int64_t>{0, 3, 32}));
}

// What a session forces, kernels take: the same products and the same identity on every path this machine
// has.
TEST(EveryForcedCpuPathComputesTheSame) {
  const Weight w(70, 50, 5);
  const std::vector<float> x = RandomRows(6, w.k, 3);
  const std::vector<double> expected = Reference(w, Direction::kForward, x, 6, false);
  for (CpuPath path : SupportedCpuPaths()) {
    Context() = CpuPathName(path);
    setenv("ORTQLORA_CPU", CpuPathName(path), 1);
    char name[32] = "";
    int64_t required = 0;
    const auto cpu_path = Entry<decltype(&ortqlora_cpu_path)>("ortqlora_cpu_path");
    EXPECT_EQ(cpu_path(name, sizeof name, &required, nullptr, 0), ORTQLORA_OK);
    EXPECT_EQ(std::string(name), CpuPathName(path));
    for (const std::string layout : kLayouts) {
      Session session(MatMulModel("MatMulInt8", w, {kFloat32, kFloat32, layout, false, true, "fp32"}));
      const Tensor y = session.Run({FloatTensor("x", kFloat32, {2, 3, w.k}, x)}, "y");
      EXPECT_AT_MOST(RelativeError(Floats(y), expected), 2e-6);
    }
  }
  unsetenv("ORTQLORA_CPU");
}

// No rows, no features, no parameters: every op gives outputs of the right shape.
TEST(EmptyInputsGiveEmptyOutputs) {
  struct Empty {
    const char* op;
    std::vector<Tensor> inputs;
    std::vector<std::string> outputs;
    std::function<void(NodeWriter&)> set;
    std::vector<int64_t> shape;  // of the first output
  };
  const auto nothing = [](NodeWriter&) {};
  const auto epsilon = [](NodeWriter& node) { node.Set("epsilon", 1e-5f); };
  const auto input = [](const std::string& name, const std::vector<int64_t>& shape) {
    int64_t size = 1;
    for (int64_t part : shape) size *= part;
    return FloatTensor(name, kFloat32, shape, std::vector<float>(static_cast<size_t>(size), 1.0f));
  };
  const Tensor q{"q", kInt8, {8, 6}, std::string(48, '\1')};
  const auto lora = [](NodeWriter& node) { node.Set("K", 8).Set("N", 6).Set("scaling", 1.0f); };
  const auto adam = [](NodeWriter& node) {
    node.Set("beta1", 0.9f).Set("beta2", 0.99f).Set("epsilon", 1e-8f).Set("weight_decay", 0.0f);
  };
  const Empty cases[] = {
      {"LoraLinear",
       {input("x", {0, 8}), q, input("scale", {6}), input("A", {4, 8}), input("B", {6, 4})},
       {"y", "h"},
       lora,
       {0, 6}},
      {"LoraLinearGrad",
       {input("dy", {0, 6}), input("x", {0, 8}), input("h", {0, 4}), q, input("scale", {6}),
        input("A", {4, 8}), input("B", {6, 4})},
       {"dA", "dB", "dx"},
       lora,
       {4, 8}},
      {"RmsNorm", {input("x", {0, 8}), input("weight", {8})}, {"y", "inv"}, epsilon, {0, 8}},
      {"RmsNormGrad",
       {input("dy", {0, 8}), input("x", {0, 8}), input("weight", {8}), input("inv", {0, 1})},
       {"dx"},
       nothing,
       {0, 8}},
      {"LayerNorm", {input("x", {2, 0, 8}), input("weight", {8})}, {"y", "mean", "inv"}, epsilon, {2, 0, 8}},
      {"LayerNormGrad",
       {input("dy", {0, 8}), input("x", {0, 8}), input("weight", {8}), input("mean", {0, 1}),
        input("inv", {0, 1})},
       {"dx"},
       nothing,
       {0, 8}},
      {"SwiGlu", {input("gate", {0, 3}), input("up", {0, 3})}, {"y"}, nothing, {0, 3}},
      {"SwiGluGrad",
       {input("dy", {3, 0}), input("gate", {3, 0}), input("up", {3, 0})},
       {"dgate", "dup"},
       nothing,
       {3, 0}},
      {"Gelu", {input("x", {0})}, {"y"}, nothing, {0}},
      {"GeluGrad", {input("dy", {0}), input("x", {0})}, {"dx"}, nothing, {0}},
      {"Rotary",
       {input("x", {1, 2, 0, 4}), input("cos", {0, 4}), input("sin", {0, 4})},
       {"y"},
       nothing,
       {1, 2, 0, 4}},
      {"RotaryGrad",
       {input("dy", {0, 2, 3, 4}), input("cos", {3, 4}), input("sin", {3, 4})},
       {"dx"},
       nothing,
       {0, 2, 3, 4}},
      {"Attention",
       {input("q", {1, 2, 0, 4}), input("k", {1, 2, 3, 4}), input("v", {1, 2, 3, 4})},
       {"y", "lse"},
       [](NodeWriter& node) { node.Set("scale", 1.0f); },
       {1, 2, 0, 4}},
      {"AttentionGrad",
       {input("dy", {1, 2, 0, 4}), input("q", {1, 2, 0, 4}), input("k", {1, 2, 3, 4}),
        input("v", {1, 2, 3, 4}), input("y", {1, 2, 0, 4}), input("lse", {1, 2, 0})},
       {"dq", "dk", "dv"},
       [](NodeWriter& node) { node.Set("scale", 1.0f); },
       {1, 2, 0, 4}},
      {"LinearCrossEntropy",
       {input("x", {0, 8}), input("weight", {8, 5}), {"labels", kInt64, {0}, ""}},
       {"loss", "dx"},
       nothing,
       {}},
      {"AdamW",
       {input("p", {0}),
        input("g", {0}),
        input("m", {0}),
        input("v", {0}),
        input("rate", {}),
        {"step", kInt64, {}, Raw(std::vector<int64_t>{1})}},
       {"new_p", "new_m", "new_v"},
       adam,
       {0}},
      {"MatMulInt8Grad",
       {input("dy", {0, 6}), q, input("scale", {6})},
       {"dx"},
       [](NodeWriter& node) { node.Set("K", 8).Set("N", 6); },
       {0, 8}},
  };
  for (const Empty& empty : cases) {
    Context() = empty.op;
    ModelWriter model;
    std::vector<std::string> names;
    for (const Tensor& tensor : empty.inputs) {
      names.push_back(tensor.name);
      model.Input({tensor.name, tensor.type, tensor.shape, ""});
    }
    NodeWriter node(empty.op, empty.op, names, empty.outputs);
    empty.set(node);
    model.Node(node);
    for (const std::string& output : empty.outputs) model.OutputOfAnyShape(output, kFloat32);
    Session session(model.Write());
    const Tensor first = session.Run(empty.inputs, empty.outputs[0]);
    EXPECT_TRUE(first.shape == empty.shape);
    for (float value : Floats(first)) EXPECT_EQ(value, 0.0f);
  }
}

TEST(MistakesAreNamedAtSessionCreation) {
  const Weight w(64, 32, 6);
  const auto create = [&](int64_t k, int64_t scale_size, const char* layout, const char* compute,
                          Type q_type) {
    NodeWriter node("MatMulInt8", "/layers.0/q_proj", {"x", "q", "scale"}, {"y"});
    node.Set("K", k).Set("N", 32).Set("layout", std::string(layout)).Set("compute", std::string(compute));
    ModelWriter model;
    model.Node(node).Input({"x", kFloat32, {-1, 64}, ""}).Output({"y", kFloat32, {-1, 32}, ""});
    model.Initializer({"q", q_type, {64, 32}, Raw(w.q)});
    model.Initializer(
        FloatTensor("scale", kFloat32, {scale_size}, std::vector<float>(static_cast<size_t>(scale_size))));
    const Session session(model.Write());
  };
  const std::string place = "ortqlora.MatMulInt8 at node '/layers.0/q_proj'";
  EXPECT_THROWS(create(63, 32, "plain", "auto", kInt8), place, "[64, 32]", "expected [63, 32]");
  EXPECT_THROWS(create(64, 31, "plain", "auto", kInt8), place, "scale has the shape [31], expected [32]");
  EXPECT_THROWS(create(64, 32, "marlin", "auto", kInt8), place, "layout is 'marlin'");
  EXPECT_THROWS(create(64, 32, "plain", "fp8", kInt8), place, "compute is 'fp8'");
  EXPECT_THROWS(create(64, 32, "plain", "auto", kUint8), place, "q is uint8, expected int8");
  EXPECT_THROWS(create(-1, 32, "plain", "auto", kInt8), place, "K = -1");
}

// A node of one op with inputs of declared shapes, none of them constant.
struct Declared {
  const char* op;
  std::vector<Tensor> inputs;
  std::vector<std::string> outputs;
  std::function<void(NodeWriter&)> set;
};

void CreateDeclared(const Declared& declared) {
  std::vector<std::string> names;
  ModelWriter model;
  for (const Tensor& input : declared.inputs) {
    names.push_back(input.name);
    if (!input.name.empty()) model.Input(input);
  }
  NodeWriter node(declared.op, std::string("/layers.1/") + declared.op, names, declared.outputs);
  declared.set(node);
  model.Node(node);
  for (const std::string& output : declared.outputs) model.OutputOfAnyShape(output, kFloat32);
  const Session session(model.Write());
}

Tensor Input(const std::string& name, const std::vector<int64_t>& shape, Type type = kFloat32) {
  return {name, type, shape, ""};
}

// What every op checks before anything runs: the message names op, node and both numbers.
TEST(MistakesOfFusedOpsAreNamedAtSessionCreation) {
  const auto nothing = [](NodeWriter&) {};
  const auto epsilon = [](NodeWriter& node) { node.Set("epsilon", 1e-5f); };
  const auto lora = [](NodeWriter& node) { node.Set("K", 8).Set("N", 6).Set("scaling", 1.0f); };
  const auto heads = [](NodeWriter& node) { node.Set("scale", 1.0f); };
  const auto adam = [](NodeWriter& node) {
    node.Set("beta1", 0.9f).Set("beta2", 0.99f).Set("epsilon", 1e-8f).Set("weight_decay", 0.0f);
  };
  const Tensor q = Input("q", {8, 6}, kInt8), scale = Input("scale", {6}), x = Input("x", {2, 3, 8});
  const Tensor a = Input("A", {4, 8}), b = Input("B", {6, 4});
  const Tensor flat[] = {Input("p", {10}), Input("g", {10}), Input("m", {10}), Input("v", {10})};
  const Tensor rate = Input("rate", {}), step = Input("step", {}, kInt64);
  struct Mistake {
    Declared declared;
    const char* expected;
  };
  const Mistake mistakes[] = {
      {{"DequantizeInt8",
        {Input("q", {8, 5}, kInt8), scale},
        {"y"},
        [](NodeWriter& n) { n.Set("K", 8).Set("N", 6); }},
       "q has the shape [8, 5], expected [8, 6] for K = 8, N = 6"},
      {{"DequantizeInt8", {q, Input("scale", {5})}, {"y"}, [](NodeWriter& n) { n.Set("K", 8).Set("N", 6); }},
       "scale has the shape [5], expected [6]"},
      {{"DequantizeInt8", {q, scale}, {"y"}, [](NodeWriter& n) { n.Set("K", 8); }},
       "attribute 'N' (int) is missing"},
      {{"MatMulInt8",
        {Input("x", {2, 3, 7}), q, scale},
        {"y"},
        [](NodeWriter& n) { n.Set("K", 8).Set("N", 6); }},
       "x has the shape [2, 3, 7], expected a last dimension of K = 8"},
      {{"MatMulInt8",
        {x, q, scale, Input("bias", {7})},
        {"y"},
        [](NodeWriter& n) { n.Set("K", 8).Set("N", 6); }},
       "bias has the shape [7], expected [6]"},
      {{"MatMulInt8",
        {x, q, Input("scale", {6}, kDouble)},
        {"y"},
        [](NodeWriter& n) { n.Set("K", 8).Set("N", 6); }},
       "scale is double, expected float or float16"},
      {{"MatMulInt8Grad",
        {Input("dy", {2, 7}), q, scale},
        {"y"},
        [](NodeWriter& n) { n.Set("K", 8).Set("N", 6); }},
       "dy has the shape [2, 7], expected a last dimension of N = 6"},
      {{"MatMulInt8Grad",
        {Input("dy", {2, 6}), Input("q", {8, 7}, kInt8), scale},
        {"y"},
        [](NodeWriter& n) { n.Set("K", 8).Set("N", 6); }},
       "q has the shape [8, 7], expected [8, 6]"},
      {{"LoraLinear", {x, q, scale, Input("A", {4, 7}), b}, {"y", "h"}, lora},
       "A has the shape [4, 7], expected [?, 8]"},
      {{"LoraLinear", {x, q, scale, a, Input("B", {6, 3})}, {"y", "h"}, lora},
       "B has the shape [6, 3], expected [6, 4]"},
      {{"LoraLinear", {x, q, scale, a, b, Input("bias", {8})}, {"y", "h"}, lora},
       "bias has the shape [8], expected [6]"},
      {{"LoraLinear", {x, q, scale, a, b}, {"y", "h"}, [](NodeWriter& n) { n.Set("K", 8).Set("N", 6); }},
       "attribute 'scaling' (float) is missing"},
      {{"LoraLinearGrad",
        {Input("dy", {2, 3, 5}), x, Input("h", {2, 3, 4}), q, scale, a, b},
        {"dA", "dB", "dx"},
        lora},
       "dy has the shape [2, 3, 5], expected a last dimension of N = 6"},
      {{"LoraLinearGrad",
        {Input("dy", {2, 3, 6}), x, Input("h", {2, 3, 5}), q, scale, a, b},
        {"dA", "dB", "dx"},
        lora},
       "h has the shape [2, 3, 5]"},
      {{"RmsNorm", {x, Input("weight", {7})}, {"y", "inv"}, epsilon},
       "weight has the shape [7], expected [8]"},
      {{"RmsNorm", {x, Input("weight", {8})}, {"y", "inv"}, nothing},
       "attribute 'epsilon' (float) is missing"},
      {{"RmsNormGrad",
        {Input("dy", {2, 4, 8}), x, Input("weight", {8}), Input("inv", {2, 3, 1})},
        {"dx"},
        nothing},
       "dy has the shape [2, 4, 8], expected x's shape [2, 3, 8]"},
      {{"RmsNormGrad",
        {Input("dy", {2, 3, 8}), x, Input("weight", {8}), Input("inv", {2, 4, 1})},
        {"dx"},
        nothing},
       "inv has the shape [2, 4, 1]"},
      {{"LayerNorm", {x, Input("weight", {8}), Input("bias", {7})}, {"y", "mean", "inv"}, epsilon},
       "bias has the shape [7], expected [8]"},
      {{"LayerNormGrad",
        {Input("dy", {2, 3, 8}), x, Input("weight", {9}), Input("mean", {2, 3, 1}), Input("inv", {2, 3, 1})},
        {"dx"},
        nothing},
       "weight has the shape [9], expected [8]"},
      {{"SwiGlu", {Input("gate", {2, 8}), Input("up", {2, 7})}, {"y"}, nothing},
       "up has the shape [2, 7], expected gate's shape [2, 8]"},
      {{"SwiGluGrad",
        {Input("dy", {3, 8}), Input("gate", {2, 8}), Input("up", {2, 8})},
        {"dgate", "dup"},
        nothing},
       "gate has the shape [2, 8], expected dy's shape [3, 8]"},
      {{"Gelu", {x}, {"y"}, [](NodeWriter& n) { n.Set("approximate", std::string("sigmoid")); }},
       "approximate is 'sigmoid', expected 'none' or 'tanh'"},
      {{"GeluGrad", {Input("dy", {2, 8}), x}, {"dx"}, nothing},
       "dy has the shape [2, 8], expected x's shape [2, 3, 8]"},
      {{"Rotary", {Input("x", {1, 2, 5, 8}), Input("cos", {5, 7}), Input("sin", {5, 7})}, {"y"}, nothing},
       "cos and sin have the shape [5, 7], expected [5, R]"},
      {{"RotaryGrad",
        {Input("dy", {1, 2, 5, 8}), Input("cos", {5, 8}), Input("sin", {5, 6})},
        {"dx"},
        nothing},
       "sin has the shape [5, 6], expected cos's shape [5, 8]"},
      {{"Attention",
        {Input("q", {1, 3, 5, 8}), Input("k", {1, 2, 5, 8}), Input("v", {1, 2, 5, 8})},
        {"y", "lse"},
        heads},
       "q has 3 heads and k and v have 2"},
      {{"Attention",
        {Input("q", {1, 2, 5, 8}), Input("k", {1, 2, 5, 7}), Input("v", {1, 2, 5, 8})},
        {"y", "lse"},
        heads},
       "k has the shape [1, 2, 5, 7], expected [?, ?, ?, 8]"},
      {{"Attention",
        {Input("q", {1, 2, 5, 8}), Input("k", {1, 2, 5, 8}), Input("v", {1, 2, 5, 8}),
         Input("mask", {5, 5}, kInt64)},
        {"y", "lse"},
        heads},
       "mask is int64, expected float or bool"},
      {{"AttentionGrad",
        {Input("dy", {1, 2, 5, 8}), Input("q", {1, 2, 5, 8}), Input("k", {1, 2, 4, 8}),
         Input("v", {1, 2, 3, 8}), Input("y", {1, 2, 5, 8}), Input("lse", {1, 2, 5})},
        {"dq", "dk", "dv"},
        heads},
       "v has the shape [1, 2, 3, 8], expected [1, 2, 4, ?]"},
      {{"LinearCrossEntropy",
        {x, Input("weight", {7, 9}), Input("labels", {2, 3}, kInt64)},
        {"loss"},
        nothing},
       "weight has the shape [7, 9], expected [8, ?]"},
      {{"LinearCrossEntropy",
        {x, Input("weight", {8, 9}), Input("labels", {2, 4}, kInt64)},
        {"loss"},
        nothing},
       "labels has the shape [2, 4], expected x without its last dimension's shape [2, 3]"},
      {{"LinearCrossEntropy",
        {x, Input("weight", {8, 9}), Input("labels", {2, 3}, kInt64), Input("bias", {8})},
        {"loss"},
        nothing},
       "bias has the shape [8], expected [9]"},
      {{"AdamW", {flat[0], Input("g", {9}), flat[2], flat[3], rate, step}, {"new_p", "new_m", "new_v"}, adam},
       "g has the shape [9], expected p's shape [10]"},
      {{"AdamW",
        {flat[0], flat[1], flat[2], flat[3], Input("rate", {2}), step},
        {"new_p", "new_m", "new_v"},
        adam},
       "rate has the shape [2], expected one number"},
      {{"AdamW", {flat[0], flat[1], flat[2], flat[3], rate, step}, {"new_p", "new_m", "new_v"}, nothing},
       "attribute 'beta1' (float) is missing"},
  };
  std::set<std::string> seen;
  for (const Mistake& mistake : mistakes) {
    const std::string op = mistake.declared.op;
    seen.insert(op);
    Context() = op + ": " + mistake.expected;
    EXPECT_THROWS(CreateDeclared(mistake.declared), "ortqlora." + op + " at node '/layers.1/" + op + "'",
                  mistake.expected);
  }
  // SquaredNorm takes anything float; every other op has a row above.
  for (const std::string& op : OpNames()) {
    Context() = op;
    EXPECT_TRUE(op == "SquaredNorm" || seen.count(op) == 1);
  }
}

TEST(ElementTypesNoKernelTakesAreNamedAtSessionCreation) {
  const Declared declared{
      "RmsNorm", {Input("x", {2, 8}, kInt64), Input("weight", {8})}, {"y", "inv"}, [](NodeWriter& node) {
        node.Set("epsilon", 1e-5f);
      }};
  EXPECT_THROWS(CreateDeclared(declared), "RmsNorm", "/layers.1/RmsNorm", "int64");
}

TEST(AdamWStepsInASession) {
  const auto create = [](bool clipped) {
    std::vector<std::string> inputs = {"p", "g", "m", "v", "rate", "step"};
    if (clipped) inputs.push_back("factor");
    NodeWriter node("AdamW", "/update", inputs, {"new_p", "new_m", "new_v"});
    node.Set("beta1", 0.5f).Set("beta2", 0.75f).Set("epsilon", 0.0f).Set("weight_decay", 0.5f);
    ModelWriter model;
    model.Node(node);
    for (const char* name : {"p", "g", "m", "v"}) model.Input({name, kFloat32, {-1}, ""});
    model.Input({"rate", kFloat32, {}, ""}).Input({"step", kInt64, {}, ""});
    if (clipped) model.Input({"factor", kFloat32, {}, ""});
    for (const char* name : {"new_p", "new_m", "new_v"}) model.OutputOfAnyShape(name, kFloat32);
    return model.Write();
  };
  const auto feed = [](float gradient, int64_t step) {
    const std::vector<float> zeros(3, 0.0f);
    return std::vector<Tensor>{
        FloatTensor("p", kFloat32, {3}, {1, 2, -4}),
        FloatTensor("g", kFloat32, {3}, {gradient, gradient, -gradient}),
        FloatTensor("m", kFloat32, {3}, zeros),
        FloatTensor("v", kFloat32, {3}, zeros),
        FloatTensor("rate", kFloat32, {}, {0.25f}),
        {"step", kInt64, {}, Raw(std::vector<int64_t>{step})},
    };
  };
  // A first step goes one rate against the gradient's sign, and an eighth of p back towards zero.
  Session plain(create(false));
  for (float gradient : {1.0f, 64.0f}) {
    EXPECT_TRUE((Floats(plain.Run(feed(gradient, 1), "new_p")) == std::vector<float>{0.625f, 1.5f, -3.25f}));
  }
  EXPECT_TRUE((Floats(plain.Run(feed(2, 1), "new_v")) == std::vector<float>{1, 1, 1}));
  EXPECT_THROWS(plain.Run(feed(1, 0), "new_p"), "ortqlora.AdamW at node '/update'",
                "step is 0, expected 1 or more");

  Session clipped(create(true));
  std::vector<Tensor> inputs = feed(2, 1);
  inputs.push_back(FloatTensor("factor", kFloat32, {}, {0.5f}));
  EXPECT_TRUE((Floats(clipped.Run(inputs, "new_m")) == std::vector<float>{0.5f, 0.5f, -0.5f}));
}

TEST(SquaredNormIsASumInFloat64) {
  ModelWriter model;
  model.Node(NodeWriter("SquaredNorm", "/norm", {"x"}, {"y"}));
  model.Input({"x", kFloat32, {-1, 2}, ""}).OutputOfAnyShape("y", kDouble);
  const Tensor y = Session(model.Write()).Run({FloatTensor("x", kFloat32, {2, 2}, {3e30f, 1, 0, -2})}, "y");
  double value = 0;
  std::memcpy(&value, y.data.data(), sizeof value);
  EXPECT_TRUE(y.type == kDouble && y.shape.empty());
  EXPECT_EQ(value, double{3e30f} * double{3e30f} + 5);
}

// Shape and meaning only: how fast this machine is, no test says.
TEST(PeaksAreMeasuredOfKnownModes) {
  const auto peak = Entry<decltype(&ortqlora_peak)>("ortqlora_peak");
  const auto read_rate = Entry<decltype(&ortqlora_read_rate)>("ortqlora_read_rate");
  char error[256] = "";
  double rate = -1;
  for (const char* compute : {"fp32", "bf16", "int16", "int8"}) {
    EXPECT_EQ(peak(compute, 1, &rate, error, sizeof error), ORTQLORA_OK);
    EXPECT_TRUE(rate >= 0 && std::isfinite(rate));
  }
  EXPECT_EQ(read_rate(1 << 20, 0, &rate, error, sizeof error), ORTQLORA_OK);
  EXPECT_TRUE(rate >= 0 && std::isfinite(rate));
  EXPECT_EQ(peak("fp8", 1, &rate, error, sizeof error), ORTQLORA_INVALID_ARGUMENT);
  EXPECT_TRUE(std::string(error).find("fp8") != std::string::npos);
  EXPECT_EQ(peak("fp32", -1, &rate, error, sizeof error), ORTQLORA_INVALID_ARGUMENT);
  EXPECT_TRUE(std::string(error).find("threads is -1") != std::string::npos);
  EXPECT_EQ(read_rate(-5, 1, &rate, error, sizeof error), ORTQLORA_INVALID_ARGUMENT);
}

TEST(UnknownCpuPathIsAnErrorNotAFallback) {
  const Weight w(64, 32, 6);
  setenv("ORTQLORA_CPU", "avx1024", 1);
  EXPECT_THROWS(Session(MatMulModel("MatMulInt8", w, {})), "/layer/MatMulInt8", "avx1024", "known: portable");
  char text[16] = "", error[40] = "";
  int64_t required = 0;
  const auto cpu_path = Entry<decltype(&ortqlora_cpu_path)>("ortqlora_cpu_path");
  EXPECT_EQ(cpu_path(text, sizeof text, &required, error, sizeof error), ORTQLORA_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(error).size(), sizeof error - 1);
  setenv("ORTQLORA_CPU", "portable", 1);
  EXPECT_EQ(cpu_path(text, sizeof text, &required, error, sizeof error), ORTQLORA_OK);
  EXPECT_EQ(std::string(text), "portable");
  EXPECT_EQ(cpu_path(text, 4, &required, nullptr, 0), ORTQLORA_BUFFER_TOO_SMALL);
  EXPECT_EQ(required, 9);
  unsetenv("ORTQLORA_CPU");
}

TEST(WrongRowsAreNamedWhenTheyArrive) {
  const Weight w(64, 32, 6);
  ModelWriter model;
  model.Node(OpNode("MatMulInt8", w, "plain", "auto", {"x", "q", "scale"}, "y"));
  model.Initializer(WeightTensor(w, "plain")).Initializer(FloatTensor("scale", kFloat32, {32}, w.scale));
  model.Input({"x", kFloat32, {-1, -1}, ""}).Output({"y", kFloat32, {-1, 32}, ""});
  Session session(model.Write());
  EXPECT_THROWS(session.Run({FloatTensor("x", kFloat32, {2, 65}, RandomRows(2, 65, 1))}, "y"),
                "/layer/MatMulInt8", "[2, 65]", "K = 64");
}

TEST(OpNamesAndAbiVersion) {
  int32_t version = 0;
  EXPECT_EQ(Entry<decltype(&ortqlora_abi_version)>("ortqlora_abi_version")(&version, nullptr, 0),
            ORTQLORA_OK);
  EXPECT_EQ(version, ORTQLORA_ABI_VERSION);
  const std::vector<std::string> names = OpNames();
  EXPECT_TRUE(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  EXPECT_EQ(names.front(), "MatMulInt8");
  EXPECT_EQ(names.back(), "SquaredNorm");
}

}  // namespace
}  // namespace ortqlora::test
