// The ops inside ONNX Runtime: what a model sees.

#include <dlfcn.h>

#include "common/error.h"
#include "ortqlora.h"
#include "test/matmul_int8_reference.h"
#include "test/ort_session.h"
#include "test/test.h"

namespace ortqlora::test {
namespace {

std::vector<float> Floats(const Tensor& tensor) {
  if (tensor.type == kFloat32) {
    std::vector<float> values(tensor.data.size() / 4);
    std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
    return values;
  }
  std::vector<uint16_t> halves(tensor.data.size() / 2);
  std::memcpy(halves.data(), tensor.data.data(), tensor.data.size());
  std::vector<float> values;
  for (uint16_t half : halves) values.push_back(HalfToFloat(half));
  return values;
}

Tensor FloatTensor(const std::string& name, Type type, const std::vector<int64_t>& shape,
                   const std::vector<float>& values) {
  if (type == kFloat32) return {name, type, shape, Raw(values)};
  std::vector<uint16_t> halves;
  for (float value : values) halves.push_back(FloatToHalf(value));
  return {name, type, shape, Raw(halves)};
}

Tensor WeightTensor(const Weight& w, bool eetq) {
  if (!eetq) return {"q", kInt8, {w.k, w.n}, Raw(w.q)};
  return {"q", kUint8, {RoundUp(w.k, 64), RoundUp(w.n, 64)}, Raw(w.Eetq())};
}

NodeWriter OpNode(const std::string& op, const Weight& w, bool eetq, const std::string& compute,
                  const std::vector<std::string>& inputs, const std::string& output) {
  NodeWriter node(op, "/layer/" + op, inputs, {output});
  node.Set("K", w.k).Set("N", w.n).Set("layout", std::string(eetq ? "eetq_sm80" : "plain"));
  if (op != "DequantizeInt8") node.Set("compute", compute);
  return node;
}

struct Variant {
  Type rows = kFloat32, scale = kFloat32;
  bool eetq = false, bias = false, constant = true;
  std::string compute = "fp32";
};

std::string MatMulModel(const std::string& op, const Weight& w, const Variant& v) {
  const bool forward = op == "MatMulInt8";
  std::vector<std::string> inputs = {"x", "q", "scale"};
  if (v.bias) inputs.push_back("bias");
  ModelWriter model;
  model.Node(OpNode(op, w, v.eetq, v.compute, inputs, "y"));
  model.Input({"x", v.rows, {-1, 3, forward ? w.k : w.n}, ""});
  const Tensor q = WeightTensor(w, v.eetq);
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

TEST(MatMulAndGradMatchTheReference) {
  std::printf("ONNX Runtime %s\n", Ort::Get().version().c_str());
  const Weight w(100, 70, 5);
  for (const std::string op : {"MatMulInt8", "MatMulInt8Grad"}) {
    const Direction direction = op == "MatMulInt8" ? Direction::kForward : Direction::kGradient;
    const int64_t width = direction == Direction::kForward ? w.k : w.n;
    std::vector<Variant> variants;
    for (Type rows : {kFloat32, kFloat16}) {
      for (bool eetq : {false, true}) {
        for (bool flag : {false, true}) {
          variants.push_back(
              {rows, flag ? kFloat16 : kFloat32, eetq, flag && op == "MatMulInt8", true, "auto"});
        }
        variants.push_back({rows, kFloat16, eetq, false, false, "fp32"});
      }
    }
    for (const Variant& v : variants) {
      Context() =
          Concat(op, " rows type ", int{v.rows}, " scale type ", int{v.scale}, v.eetq ? " eetq" : " plain",
                 v.bias ? " bias" : "", v.constant ? "" : " weight as input");
      Session session(MatMulModel(op, w, v));
      std::vector<float> x = RandomRows(6, width, 3);
      for (float& value : x) value = HalfToFloat(FloatToHalf(value));
      std::vector<Tensor> inputs = {FloatTensor("x", v.rows, {2, 3, width}, x)};
      if (!v.constant) inputs.push_back(WeightTensor(w, v.eetq));
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
    for (bool eetq : {false, true}) {
      ModelWriter model;
      model.Node(OpNode("DequantizeInt8", w, eetq, "", {"q", "scale"}, "w"));
      model.Initializer(WeightTensor(w, eetq))
          .Input({"scale", type, {w.n}, ""})
          .Output({"w", type, {w.k, w.n}, ""});
      const Tensor what = Session(model.Write()).Run({FloatTensor("scale", type, {w.n}, w.scale)}, "w");

      const Variant variant{type, type, eetq, false, true, "fp32"};
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
    writer.Node(OpNode("MatMulInt8", weight, false, "auto", {"x", "q", "scale"}, "h"));
    writer.Node(OpNode("MatMulInt8Grad", weight, false, "auto", {"h", "q", "scale"}, "y"));
    writer.Initializer(WeightTensor(weight, false))
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

TEST(ThreadCountDoesNotChangeBits) {
  const Weight w(512, 320, 6);
  for (const std::string op : {"MatMulInt8", "MatMulInt8Grad"}) {
    const int64_t width = op == "MatMulInt8" ? w.k : w.n;
    for (const std::string compute : {"fp32", "bf16", "int16", "int8"}) {
      const std::string model = MatMulModel(op, w, {kFloat32, kFloat32, false, false, true, compute});
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
  model.Node(OpNode("MatMulInt8", w, false, "auto", {"x", "q", "scale"}, "y"));
  model.Initializer(WeightTensor(w, false)).Initializer(FloatTensor("scale", kFloat32, {32}, w.scale));
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
  char names[4096];
  int64_t required = 0;
  const auto op_names = Entry<decltype(&ortqlora_op_names)>("ortqlora_op_names");
  EXPECT_EQ(op_names(names, sizeof names, &required, nullptr, 0), ORTQLORA_OK);
  EXPECT_TRUE(std::string(names).find("MatMulInt8\nMatMulInt8Grad\nDequantizeInt8") != std::string::npos);
}

}  // namespace
}  // namespace ortqlora::test
