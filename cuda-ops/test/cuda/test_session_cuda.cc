// The ops inside ONNX Runtime on its CUDA provider: every variant of every op, compared with the same op in float on the
// CPU provider. Skipped where the provider or a device is missing.

#include <dlfcn.h>

#include <algorithm>

#include "common/error.h"
#include "ortqlora.h"
#include "test/float64.h"
#include "test/matmul_int8_reference.h"
#include "test/ort_session.h"
#include "test/test.h"

namespace ortqlora::test {
namespace {

// An input whose type follows the activations of a variant, or stays.
struct Input {
  Tensor tensor;
  std::vector<float> values;
  bool activation = false;
};

struct OpCase {
  std::string op;
  std::vector<Input> inputs;
  std::vector<std::pair<std::string, bool>> outputs;  // and whether they follow the activations
  std::vector<std::pair<std::string, int64_t>> integers;
  std::vector<std::pair<std::string, float>> floats;
  std::vector<std::pair<std::string, std::string>> strings;
  std::vector<std::string> constants;  // inputs that are initializers
};

std::string Encode(Type type, const std::vector<float>& values) {
  if (type == kFloat32) return Raw(values);
  std::vector<uint16_t> bits;
  for (float value : values) bits.push_back(type == kFloat16 ? FloatToHalf(value) : FloatToBf16(value));
  return Raw(bits);
}

Doubles Decode(const Tensor& tensor) {
  Doubles values;
  for (size_t i = 0; i < tensor.data.size(); i += SizeOf(tensor.type)) {
    const char* at = tensor.data.data() + i;
    if (tensor.type == kFloat32) {
      float value;
      std::memcpy(&value, at, 4);
      values.push_back(value);
    } else if (tensor.type == kDouble) {
      double value;
      std::memcpy(&value, at, 8);
      values.push_back(value);
    } else {
      uint16_t bits;
      std::memcpy(&bits, at, 2);
      values.push_back(tensor.type == kFloat16 ? HalfToFloat(bits) : BitsFloat(static_cast<uint32_t>(bits) << 16));
    }
  }
  return values;
}

// Values that fp16 and bf16 both hold.
Input Activation(const std::string& name, const std::vector<int64_t>& shape, uint32_t seed) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  Input input{{name, kFloat32, shape, ""}, RandomRows(1, count, seed), true};
  for (float& value : input.values) {
    value = HalfToFloat(FloatToHalf(BitsFloat(static_cast<uint32_t>(FloatToBf16(value)) << 16)));
  }
  return input;
}

Input Float(const std::string& name, const std::vector<int64_t>& shape, uint32_t seed) {
  Input input = Activation(name, shape, seed);
  input.activation = false;
  return input;
}

std::string Model(const OpCase& test, Type type) {
  std::vector<std::string> names, outputs;
  for (const Input& input : test.inputs) names.push_back(input.tensor.name);
  for (const auto& [name, follows] : test.outputs) outputs.push_back(name);
  NodeWriter node(test.op, "/" + test.op, names, outputs);
  for (const auto& [name, value] : test.integers) node.Set(name, value);
  for (const auto& [name, value] : test.floats) node.Set(name, value);
  for (const auto& [name, value] : test.strings) node.Set(name, value);
  ModelWriter model;
  model.Node(node);
  for (const Input& input : test.inputs) {
    Tensor tensor = input.tensor;
    if (input.activation) tensor.type = type;
    if (!input.values.empty()) tensor.data = Encode(tensor.type, input.values);
    const bool constant =
        std::find(test.constants.begin(), test.constants.end(), tensor.name) != test.constants.end();
    constant ? model.Initializer(tensor) : model.Input(tensor);
  }
  for (const auto& [name, follows] : test.outputs) {
    model.OutputOfAnyShape(name, follows ? type : kFloat32);
  }
  return model.Write();
}

std::vector<Tensor> Feed(const OpCase& test, Type type) {
  std::vector<Tensor> feed;
  for (const Input& input : test.inputs) {
    if (std::find(test.constants.begin(), test.constants.end(), input.tensor.name) != test.constants.end()) continue;
    Tensor tensor = input.tensor;
    if (input.activation) tensor.type = type;
    if (!input.values.empty()) tensor.data = Encode(tensor.type, input.values);
    feed.push_back(tensor);
  }
  return feed;
}

void RequireCuda() {
  const auto library = static_cast<void*>(LoadLibraryOrThrow("ORTQLORA_TEST_OPS_LIBRARY", ORTQLORA_OPS_LIBRARY));
  const auto describe = reinterpret_cast<decltype(&ortqlora_cuda_device)>(dlsym(library, "ortqlora_cuda_device"));
  char text[256], error[1024];
  if (describe(0, text, sizeof text, nullptr, error, sizeof error) != ORTQLORA_OK) Skip(error);
  OrtCUDAProviderOptionsV2* provider = nullptr;
  const OrtApi& api = Ort::Get().api();
  if (OrtStatus* status = api.CreateCUDAProviderOptions(&provider)) {
    api.ReleaseStatus(status);
    Skip("ONNX Runtime " + Ort::Get().version() + " without its CUDA provider");
  }
  api.ReleaseCUDAProviderOptions(provider);
}

void CompareWithCpu(const OpCase& test, std::initializer_list<Type> types = {kFloat32, kFloat16, kBfloat16}) {
  RequireCuda();
  Session cpu(Model(test, kFloat32));
  for (Type type : types) {
    Session cuda(Model(test, type), 2, true);
    for (const auto& [name, follows] : test.outputs) {
      const Doubles expected = Decode(cpu.Run(Feed(test, kFloat32), name));
      for (int run = 0; run < 2; ++run) {  // the first prepares what is constant
        const Doubles actual = Decode(cuda.Run(Feed(test, type), name));
        Context() = Concat(test.op, " type ", int{type}, " output ", name, " run ", run);
        EXPECT_EQ(actual.size(), expected.size());
        EXPECT_AT_MOST(RelativeError(std::vector<float>(actual.begin(), actual.end()), expected),
                       type == kFloat32 ? 3e-5 : type == kFloat16 ? 4e-3 : 2e-2);
      }
    }
  }
}

constexpr int64_t kK = 200, kN = 136, kRank = 8;

OpCase Int8Case(const std::string& op, const Weight& w, const std::string& layout, bool constant) {
  OpCase test;
  test.op = op;
  Tensor q{"q", kInt8, {w.k, w.n}, Raw(w.q)};
  if (layout == "eetq_sm80") q = {"q", kUint8, {RoundUp(w.k, 64), RoundUp(w.n, 64)}, Raw(w.Eetq())};
  if (layout == "tile64") {
    std::vector<uint8_t> bytes(static_cast<size_t>(RoundUp(w.k, 128) * RoundUp(w.n, 128)));
    PackTile64(w.source(), bytes.data());
    q = {"q", kUint8, {RoundUp(w.k, 128), RoundUp(w.n, 128)}, Raw(bytes)};
  }
  test.inputs = {{q, {}, false}, {{"scale", kFloat32, {w.n}, ""}, w.scale, false}};
  test.integers = {{"K", w.k}, {"N", w.n}};
  test.strings = {{"layout", layout}, {"compute", "fp32"}};
  if (constant) test.constants = {"q", "scale"};
  return test;
}

TEST(Int8ProductsOfEveryLayout) {
  const Weight w(kK, kN, 5);
  for (const std::string layout : {"plain", "eetq_sm80", "tile64"}) {
    for (bool constant : {true, false}) {
      OpCase forward = Int8Case("MatMulInt8", w, layout, constant);
      forward.inputs.insert(forward.inputs.begin(), Activation("x", {2, 3, kK}, 1));
      forward.inputs.push_back(Float("bias", {kN}, 2));
      forward.outputs = {{"y", true}};
      CompareWithCpu(forward);
      OpCase gradient = Int8Case("MatMulInt8Grad", w, layout, constant);
      gradient.inputs.insert(gradient.inputs.begin(), Activation("dy", {2, 3, kN}, 1));
      gradient.outputs = {{"dx", true}};
      CompareWithCpu(gradient);
      OpCase dense = Int8Case("DequantizeInt8", w, layout, constant);
      dense.inputs[1].activation = true;
      for (float& value : dense.inputs[1].values) value = HalfToFloat(FloatToHalf(value));
      dense.strings.pop_back();
      dense.outputs = {{"w", true}};
      CompareWithCpu(dense, {kFloat32, kFloat16});
    }
  }
}

TEST(LoraLinearAndItsGradient) {
  const Weight w(kK, kN, 5);
  OpCase forward = Int8Case("LoraLinear", w, "plain", true);
  forward.inputs.insert(forward.inputs.begin(), Activation("x", {2, 3, kK}, 1));
  for (const Input& input : {Float("A", {kRank, kK}, 2), Float("B", {kN, kRank}, 3), Float("bias", {kN}, 4)}) {
    forward.inputs.push_back(input);
  }
  forward.floats = {{"scaling", 1.5f}};
  forward.outputs = {{"y", true}, {"h", true}};
  CompareWithCpu(forward);
  forward.inputs.push_back(Activation("addend", {2, 3, kN}, 8));
  CompareWithCpu(forward);
  OpCase gradient = Int8Case("LoraLinearGrad", w, "plain", true);
  const std::vector<Input> rows = {Activation("dy", {2, 3, kN}, 1), Activation("x", {2, 3, kK}, 6),
                                   Activation("h", {2, 3, kRank}, 7)};
  gradient.inputs.insert(gradient.inputs.begin(), rows.begin(), rows.end());
  gradient.inputs.push_back(Float("A", {kRank, kK}, 2));
  gradient.inputs.push_back(Float("B", {kN, kRank}, 3));
  gradient.floats = {{"scaling", 1.5f}};
  gradient.outputs = {{"dA", false}, {"dB", false}, {"dx", true}};
  CompareWithCpu(gradient);
  gradient.inputs.push_back(Activation("dx_addend", {2, 3, kK}, 9));
  gradient.inputs.push_back(Float("dA_addend", {kRank, kK}, 10));
  gradient.inputs.push_back(Float("dB_addend", {kN, kRank}, 11));
  CompareWithCpu(gradient);
}

TEST(NormsAndTheirGradients) {
  const std::vector<int64_t> rows = {2, 5, 72}, statistics = {2, 5, 1};
  const Input x = Activation("x", rows, 1), dy = Activation("dy", rows, 2), weight = Float("weight", {72}, 3);
  const Input inv = Float("inv", statistics, 4), mean = Float("mean", statistics, 5);
  CompareWithCpu({"RmsNorm", {x, weight}, {{"y", true}, {"inv", false}}, {}, {{"epsilon", 1e-5f}}, {}, {}});
  const Input addend = Activation("addend", rows, 7);
  CompareWithCpu({"RmsNormGrad", {dy, x, weight, inv}, {{"dx", true}, {"dweight", false}}, {}, {}, {}, {}});
  CompareWithCpu({"RmsNormGrad", {dy, x, weight, inv, addend}, {{"dx", true}, {"dweight", false}}, {}, {}, {}, {}});
  CompareWithCpu({"LayerNorm",
                  {x, weight, Float("bias", {72}, 6)},
                  {{"y", true}, {"mean", false}, {"inv", false}},
                  {},
                  {{"epsilon", 1e-5f}},
                  {},
                  {}});
  CompareWithCpu({"LayerNormGrad",
                  {dy, x, weight, mean, inv},
                  {{"dx", true}, {"dweight", false}, {"dbias", false}},
                  {},
                  {},
                  {},
                  {}});
}

TEST(ActivationsAndRotary) {
  const std::vector<int64_t> rows = {2, 5, 72}, heads = {2, 3, 5, 16};
  const Input x = Activation("x", rows, 1), dy = Activation("dy", rows, 2), up = Activation("up", rows, 3);
  CompareWithCpu({"SwiGlu", {x, up}, {{"y", true}}, {}, {}, {}, {}});
  CompareWithCpu({"SwiGluGrad", {dy, x, up}, {{"dgate", true}, {"dup", true}}, {}, {}, {}, {}});
  for (const std::string form : {"none", "tanh"}) {
    CompareWithCpu({"Gelu", {x}, {{"y", true}}, {}, {}, {{"approximate", form}}, {}});
    CompareWithCpu({"GeluGrad", {dy, x}, {{"dx", true}}, {}, {}, {{"approximate", form}}, {}});
  }
  const Input head = Activation("x", heads, 4), cos = Float("cos", {5, 16}, 5), sin = Float("sin", {5, 16}, 6);
  for (const std::string op : {"Rotary", "RotaryGrad"}) {
    CompareWithCpu({op, {head, cos, sin}, {{"y", true}}, {}, {}, {{"layout", "bhsd"}}, {}});
  }
  // Tables with an axis for the heads where bhsd has it, over heads in the other layout.
  const Input turned = Activation("x", {2, 5, 3, 16}, 4), wide_cos = Float("cos", {1, 1, 5, 16}, 5),
              wide_sin = Float("sin", {1, 1, 5, 16}, 6);
  for (const std::string op : {"Rotary", "RotaryGrad"}) {
    CompareWithCpu({op, {turned, wide_cos, wide_sin}, {{"y", true}}, {}, {}, {{"layout", "bshd"}}, {}});
  }
}

TEST(AttentionAndItsGradient) {
  const std::vector<int64_t> heads = {2, 5, 4, 16}, groups = {2, 7, 2, 16};
  const Input q = Activation("q", heads, 1), k = Activation("k", groups, 2), v = Activation("v", groups, 3);
  const Input dy = Activation("dy", heads, 4), y = Activation("y", heads, 5),
              mask = Float("mask", {2, 1, 5, 7}, 6);
  Input lse = Float("lse", {2, 4, 5}, 7);
  for (float& value : lse.values) value += 4.0f;  // probabilities below 1
  for (const bool masked : {false, true}) {
    OpCase forward{"Attention",
                   {q, k, v},
                   {{"y", true}, {"lse", false}},
                   {{"causal", masked ? 0 : 1}},
                   {{"scale", 0.25f}},
                   {{"layout", "bshd"}, {"compute", "fp32"}},
                   {}};
    OpCase gradient = forward;
    gradient.op = "AttentionGrad";
    gradient.inputs = {dy, q, k, v, y, lse};
    gradient.outputs = {{"dq", true}, {"dk", true}, {"dv", true}};
    if (masked) {
      forward.inputs.push_back(mask);
      gradient.inputs.push_back(mask);
    }
    CompareWithCpu(forward);
    CompareWithCpu(gradient);
  }
}

TEST(LossOverAVocabulary) {
  const Input labels{{"labels", kInt64, {2, 3}, Raw(std::vector<int64_t>{4, -100, 0, 99, 17, 50})}, {}, false};
  CompareWithCpu({"LinearCrossEntropy",
                  {Activation("x", {2, 3, 32}, 1), Float("weight", {32, 100}, 2), labels, Float("bias", {100}, 3)},
                  {{"loss", false}, {"dx", true}},
                  {{"transposed", 0}, {"ignore_index", -100}},
                  {},
                  {{"compute", "fp32"}},
                  {}});
}

}  // namespace
}  // namespace ortqlora::test
