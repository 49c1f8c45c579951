// Attention on a CUDA device against the CPU's kernel in fp32, which test_attention compares with float64.

#include "common/error.h"
#include "ops/attention/attention_cpu.h"
#include "ops/attention/cuda/attention_cuda.h"
#include "test/cuda/device_array.h"
#include "test/float64.h"
#include "test/matmul_int8_reference.h"
#include "test/thread_pool.h"

namespace ortqlora::test {
namespace {

constexpr std::pair<Element, double> kElements[] = {
    {Element::kFloat, 1e-5}, {Element::kHalf, 2e-3}, {Element::kBfloat16, 1e-2}};
constexpr float kLowest = -3.4028235e38f;

struct Sizes {
  int64_t batch, heads, groups, queries, keys, size, value_size;
};

// A mask as hidden(batch, head, query, key), with the axes it has.
struct MaskRule {
  bool of_batch, of_head, of_query, of_key;
  std::function<float(int64_t, int64_t, int64_t, int64_t)> added;
  bool boolean = false;
};

struct Problem {
  AttentionShape shape{};
  std::vector<float> q, k, v, dy;
  std::vector<float> added;
  std::vector<uint8_t> visible;
  AttentionMask mask;

  Problem(const Sizes& s, bool sequence_first, bool causal, Element element) {
    const auto strides = [&](int64_t count, int64_t positions, int64_t width) {
      return sequence_first ? HeadStrides{count * positions * width, width, count * width}
                            : HeadStrides{count * positions * width, positions * width, width};
    };
    shape = {s.batch,
             s.heads,
             s.groups,
             s.queries,
             s.keys,
             s.size,
             s.value_size,
             1.0f / std::sqrt(static_cast<float>(std::max<int64_t>(1, s.size))),
             causal,
             strides(s.heads, s.queries, s.size),
             strides(s.groups, s.keys, s.size),
             strides(s.groups, s.keys, s.value_size),
             strides(s.heads, s.queries, s.value_size)};
    q = Rounded(element, RandomRows(s.batch * s.heads * s.queries, s.size, 1));
    k = Rounded(element, RandomRows(s.batch * s.groups * s.keys, s.size, 2));
    v = Rounded(element, RandomRows(s.batch * s.groups * s.keys, s.value_size, 3));
    dy = Rounded(element, RandomRows(s.batch * s.heads * s.queries, s.value_size, 4));
  }

  void Set(const MaskRule& rule) {
    const int64_t sizes[] = {rule.of_batch ? shape.batch : 1, rule.of_head ? shape.heads : 1,
                             rule.of_query ? shape.queries : 1, rule.of_key ? shape.keys : 1};
    for (int64_t b = 0; b < sizes[0]; ++b) {
      for (int64_t h = 0; h < sizes[1]; ++h) {
        for (int64_t i = 0; i < sizes[2]; ++i) {
          for (int64_t j = 0; j < sizes[3]; ++j) {
            added.push_back(rule.added(b, h, i, j));
            visible.push_back(added.back() > -1.0f);
          }
        }
      }
    }
    mask.added = rule.boolean ? nullptr : added.data();
    mask.visible = rule.boolean ? visible.data() : nullptr;
    mask.batch = rule.of_batch ? sizes[1] * sizes[2] * sizes[3] : 0;
    mask.head = rule.of_head ? sizes[2] * sizes[3] : 0;
    mask.query = rule.of_query ? sizes[3] : 0;
    mask.key = rule.of_key ? 1 : 0;
  }
};

struct Results {
  std::vector<float> y, lse, dq, dk, dv;
};

Results OnCpu(const Problem& p) {
  ThreadPool pool(4);
  const auto nan = [](size_t size) { return NaNs(static_cast<int64_t>(size)); };
  Results r{nan(p.dy.size()), NaNs(p.shape.batch * p.shape.heads * p.shape.queries), nan(p.q.size()),
            nan(p.k.size()), nan(p.v.size())};
  const AttentionKernel kernel(SelectCpuPath(), Compute::kFp32);
  kernel.Forward(p.shape, p.q.data(), p.k.data(), p.v.data(), p.mask, r.y.data(), r.lse.data(), pool);
  kernel.Backward(p.shape, p.dy.data(), p.q.data(), p.k.data(), p.v.data(), r.y.data(), r.lse.data(), p.mask,
                  r.dq.data(), r.dk.data(), r.dv.data(), pool);
  return r;
}

Results OnDevice(const Problem& p, Element element, bool hopper = true) {
  const auto empty = [&](size_t count) {
    return DeviceArray(count * static_cast<size_t>(cuda::SizeOf(element)));
  };
  const DeviceArray q = DeviceArray::Of(element, p.q), k = DeviceArray::Of(element, p.k),
                    v = DeviceArray::Of(element, p.v), dy = DeviceArray::Of(element, p.dy),
                    added = DeviceArray::Of(p.added), visible = DeviceArray::Of(p.visible),
                    y = empty(p.dy.size()), dq = empty(p.q.size()), dk = empty(p.k.size()),
                    dv = empty(p.v.size()),
                    lse(static_cast<size_t>(p.shape.batch * p.shape.heads * p.shape.queries) * 4);
  cuda::DeviceAttentionCall call;
  call.element = element;
  call.hopper = hopper;
  call.every_lane_arrives = Small();
  call.shape = p.shape;
  call.mask = p.mask;
  if (p.mask.added != nullptr) call.mask.added = static_cast<float*>(added.data());
  if (p.mask.visible != nullptr) call.mask.visible = static_cast<uint8_t*>(visible.data());
  call.q = q.data();
  call.k = k.data();
  call.v = v.data();
  call.y_out = y.data();
  call.lse_out = static_cast<float*>(lse.data());
  const DeviceArray forward(static_cast<size_t>(cuda::AttentionWorkspace(call, false)));
  cuda::RunAttentionForward(call, forward.data(), nullptr);
  cuda::DeviceAttentionCall back = call;
  back.y_out = nullptr;
  back.lse_out = nullptr;
  back.y = y.data();
  back.lse = static_cast<float*>(lse.data());
  back.dy = dy.data();
  back.dq = dq.data();
  back.dk = dk.data();
  back.dv = dv.data();
  const DeviceArray backward(static_cast<size_t>(cuda::AttentionWorkspace(back, true)));
  cuda::RunAttentionBackward(back, backward.data(), nullptr);
  return {y.ReadFloats(element), lse.Read<float>(), dq.ReadFloats(element), dk.ReadFloats(element),
          dv.ReadFloats(element)};
}

void Check(const char* what, const Sizes& sizes, bool sequence_first, bool causal,
           const MaskRule* rule = nullptr) {
  DeviceOrSkip();
  for (const auto& [element, limit] : kElements) {
    Problem problem(sizes, sequence_first, causal, element);
    if (rule != nullptr) problem.Set(*rule);
    const Results expected = OnCpu(problem);
    for (const bool hopper : {true, false}) {
      // Floats have but one kernel.
      if (element == Element::kFloat && !hopper) continue;
      const Results actual = OnDevice(problem, element, hopper);
      Context() =
          Concat(what, " ", ElementName(element), " [", sizes.batch, ", ", sizes.heads, "/", sizes.groups,
                 ", ", sizes.queries, "/", sizes.keys, ", ", sizes.size, "/", sizes.value_size, "]",
                 sequence_first ? " bshd" : " bhsd", causal ? " causal" : "", hopper ? "" : " without wgmma");
      const auto exact = [](const std::vector<float>& values) {
        return Doubles(values.begin(), values.end());
      };
      EXPECT_AT_MOST(RelativeError(actual.y, exact(expected.y)), limit);
      EXPECT_AT_MOST(RelativeError(actual.dq, exact(expected.dq)), limit);
      EXPECT_AT_MOST(RelativeError(actual.dk, exact(expected.dk)), limit);
      EXPECT_AT_MOST(RelativeError(actual.dv, exact(expected.dv)), limit);
      double worst = 0;
      for (size_t i = 0; i < expected.lse.size(); ++i) {
        // Hidden queries have the lowest number or -infinity in common.
        const double want = expected.lse[i], got = actual.lse[i];
        const bool hidden = want < -1e30;
        worst =
            std::max(worst, hidden ? (got == want ? 0.0 : 1.0) : std::abs(got - want) / (1 + std::abs(want)));
      }
      EXPECT_AT_MOST(worst, 2e-5);
    }
  }
}

TEST(SizesAndLayouts) {
  Check("one", {1, 1, 1, 1, 1, 64, 64}, false, false);
  Check("tiles", {2, 4, 4, 128, 128, 64, 64}, true, false);
  Check("odd", {2, 3, 3, 50, 70, 19, 13}, false, false);
  Check("odd features of vectors", {1, 2, 1, 77, 131, 80, 40}, true, false);
  if (Small()) return;
  Check("long", {1, 2, 2, 300, 517, 64, 64}, false, false);
  Check("large heads", {1, 2, 1, 130, 190, 128, 128}, true, false);
  Check("largest heads", {1, 2, 2, 70, 100, 256, 256}, false, false);
  Check("heads of 200", {1, 2, 1, 65, 129, 200, 136}, true, false);
}

TEST(CausalRule) {
  for (const int64_t size : {32, 64, 128, 256}) {
    Check("square", {2, 4, 2, 150, 150, size, size}, true, true);
    if (Small()) return;
    Check("more keys", {1, 2, 1, 100, 260, size, size}, true, true);
    Check("more queries", {1, 2, 2, 260, 100, size, size}, false, true);
  }
  Check("many tiles", {1, 2, 1, 640, 640, 64, 64}, true, true);
}

TEST(GroupsShareKeys) {
  Check("four", {2, 8, 2, 96, 96, 64, 64}, true, true);
  Check("all", {1, 7, 1, 129, 65, 128, 128}, false, false);
}

// A causal mask with padded keys, as decoders export it; with padding on the left some queries see no key.
TEST(AddedMaskOfADecoder) {
  for (const bool left : {false, true}) {
    for (const float hidden : {kLowest, -65504.0f, -INFINITY}) {
      const MaskRule rule{true, false, true, true, [&](int64_t b, int64_t, int64_t i, int64_t j) {
                            const bool padded = b == 1 && (left ? j < 150 : j >= 170);
                            return j <= i && !padded ? 0.0f : hidden;
                          }};
      // Where a query sees no key at all, numbers of this size leave little of its scores.
      if (left && hidden == -65504.0f) continue;
      for (const int64_t size : {64, 128}) {
        Check(left ? "padded left" : "padded right", {2, 4, 2, 330, 330, size, size}, true, false, &rule);
        if (Small()) return;
      }
    }
  }
}

TEST(MasksOfEveryAxis) {
  const MaskRule keys{true, false, false, true, [](int64_t b, int64_t, int64_t, int64_t j) {
                        return j < 180 - b * 70 ? 0.0f : kLowest;
                      }};
  Check("keys", {3, 2, 2, 90, 200, 64, 64}, false, false, &keys);
  MaskRule boolean = keys;
  boolean.boolean = true;
  Check("visible keys", {3, 2, 1, 90, 200, 64, 64}, true, false, &boolean);
  const MaskRule heads{false, true, true, true, [](int64_t, int64_t h, int64_t i, int64_t j) {
                         return -0.05f * static_cast<float>((h + 1) * std::abs(i - j));
                       }};
  Check("bias of heads", {2, 3, 3, 140, 140, 64, 64}, true, false, &heads);
  Check("bias under the causal rule", {1, 3, 3, 140, 140, 128, 128}, true, true, &heads);
  const MaskRule window{false, false, true, true, [](int64_t, int64_t, int64_t i, int64_t j) {
                          return j <= i && j > i - 100 ? 0.0f : -INFINITY;
                        }};
  Check("window", {1, 2, 1, 400, 400, 64, 64}, true, false, &window);
  MaskRule rows{false, false, true, false,
                [](int64_t, int64_t, int64_t i, int64_t) { return i % 3 == 0 ? -INFINITY : 0.0f; }};
  rows.boolean = true;
  Check("visible queries", {1, 2, 2, 70, 130, 64, 64}, false, false, &rows);
}

TEST(EmptySequences) {
  Check("no keys", {1, 2, 2, 5, 0, 64, 64}, false, false);
  Check("no queries", {1, 2, 2, 0, 5, 64, 64}, false, false);
}

TEST(ScalesOfEverySign) {
  DeviceOrSkip();
  for (const float scale : {0.0f, -0.2f}) {
    Problem problem({1, 2, 1, 100, 150, 64, 64}, true, true, Element::kHalf);
    problem.shape.scale = scale;
    const Results expected = OnCpu(problem), actual = OnDevice(problem, Element::kHalf);
    EXPECT_AT_MOST(RelativeError(actual.y, Doubles(expected.y.begin(), expected.y.end())), 2e-3);
    EXPECT_AT_MOST(RelativeError(actual.dv, Doubles(expected.dv.begin(), expected.dv.end())), 2e-3);
    if (scale == 0.0f) {
      EXPECT_TRUE(actual.dq == std::vector<float>(actual.dq.size(), 0.0f));
    } else {
      EXPECT_AT_MOST(RelativeError(actual.dq, Doubles(expected.dq.begin(), expected.dq.end())), 2e-3);
      EXPECT_AT_MOST(RelativeError(actual.dk, Doubles(expected.dk.begin(), expected.dk.end())), 2e-3);
    }
  }
}

TEST(TheSameCallGivesTheSameBits) {
  DeviceOrSkip();
  const Problem problem({2, 8, 2, 500, 500, 64, 64}, true, true, Element::kBfloat16);
  const Results one = OnDevice(problem, Element::kBfloat16), two = OnDevice(problem, Element::kBfloat16);
  EXPECT_TRUE(one.y == two.y && one.lse == two.lse && one.dq == two.dq && one.dk == two.dk &&
              one.dv == two.dv);
}

TEST(HeadsBeyondTheLargestAreRefused) {
  const Problem problem({1, 1, 1, 2, 2, 264, 64}, false, false, Element::kHalf);
  cuda::DeviceAttentionCall call;
  call.shape = problem.shape;
  EXPECT_THROWS(cuda::AttentionWorkspace(call, false), "264", "256", "--ops portable");
}

}  // namespace
}  // namespace ortqlora::test
