#include "common/error.h"
#include "ops/attention/attention_cpu.h"
#include "test/float64.h"
#include "test/matmul_int8_reference.h"
#include "test/test.h"
#include "test/thread_pool.h"

namespace ortqlora::test {
namespace {

// A problem with its mask, laid out [batch, heads, positions, size] or with positions first.
struct Problem {
  AttentionShape shape{};
  AttentionMask mask;
  std::vector<float> q, k, v, dy, added;
  std::vector<uint8_t> visible;

  Problem(int64_t batch, int64_t heads, int64_t groups, int64_t queries, int64_t keys, int64_t size,
          int64_t value_size, bool sequence_first) {
    shape = {batch, heads, groups, queries, keys, size, value_size, 0.3f, false, {}, {}, {}, {}};
    const auto strides = [&](int64_t count, int64_t positions, int64_t width) {
      return sequence_first ? HeadStrides{count * positions * width, width, count * width}
                            : HeadStrides{count * positions * width, positions * width, width};
    };
    shape.q = strides(heads, queries, size);
    shape.k = strides(groups, keys, size);
    shape.v = strides(groups, keys, value_size);
    shape.y = strides(heads, queries, value_size);
    q = RandomRows(batch * heads * queries, size, 1);
    k = RandomRows(batch * groups * keys, size, 2);
    v = RandomRows(batch * groups * keys, value_size, 3);
    dy = RandomRows(batch * heads * queries, value_size, 4);
  }

  double Mask(int64_t b, int64_t h, int64_t i, int64_t j) const {
    if (shape.causal && j > i + shape.keys - shape.queries) return -INFINITY;
    const auto at = static_cast<size_t>(b * mask.batch + h * mask.head + i * mask.query + j * mask.key);
    if (mask.visible != nullptr) return visible[at] != 0 ? 0.0 : -INFINITY;
    return mask.added != nullptr ? added[at] : 0.0;
  }
};

struct Gradients {
  Doubles y, dq, dk, dv;
};

// Forward and backward in float64, from the whole matrix of scores.
Gradients Reference(const Problem& problem) {
  const AttentionShape& s = problem.shape;
  Gradients out{Doubles(problem.dy.size()), Doubles(problem.q.size()), Doubles(problem.k.size()),
                Doubles(problem.v.size())};
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t h = 0; h < s.heads; ++h) {
      const int64_t g = h / (s.heads / s.groups);
      const auto at = [&](const HeadStrides& strides, int64_t head, int64_t position, int64_t i) {
        return static_cast<size_t>(b * strides.batch + head * strides.head + position * strides.position + i);
      };
      for (int64_t i = 0; i < s.queries; ++i) {
        Doubles p(static_cast<size_t>(s.keys)), dp(p.size());
        double most = -INFINITY, total = 0, delta = 0;
        for (int64_t j = 0; j < s.keys; ++j) {
          double score = 0;
          for (int64_t c = 0; c < s.size; ++c)
            score += double{problem.q[at(s.q, h, i, c)]} * problem.k[at(s.k, g, j, c)];
          // In fp32, as the operator: the lowest float swallows any score.
          p[static_cast<size_t>(j)] =
              static_cast<float>(s.scale * score) + static_cast<float>(problem.Mask(b, h, i, j));
          if (problem.Mask(b, h, i, j) > -1e30)
            p[static_cast<size_t>(j)] = s.scale * score + problem.Mask(b, h, i, j);
          most = std::max(most, p[static_cast<size_t>(j)]);
        }
        for (double& value : p) total += value = std::isinf(most) ? 0 : std::exp(value - most);
        for (double& value : p) value = total == 0 ? 0 : value / total;
        for (int64_t j = 0; j < s.keys; ++j) {
          for (int64_t c = 0; c < s.value_size; ++c) {
            const double gradient = problem.dy[at(s.y, h, i, c)], value = problem.v[at(s.v, g, j, c)];
            out.y[at(s.y, h, i, c)] += p[static_cast<size_t>(j)] * value;
            out.dv[at(s.v, g, j, c)] += p[static_cast<size_t>(j)] * gradient;
            dp[static_cast<size_t>(j)] += gradient * value;
          }
          delta += p[static_cast<size_t>(j)] * dp[static_cast<size_t>(j)];
        }
        for (int64_t j = 0; j < s.keys; ++j) {
          const double ds = p[static_cast<size_t>(j)] * (dp[static_cast<size_t>(j)] - delta) * s.scale;
          for (int64_t c = 0; c < s.size; ++c) {
            out.dq[at(s.q, h, i, c)] += ds * problem.k[at(s.k, g, j, c)];
            out.dk[at(s.k, g, j, c)] += ds * problem.q[at(s.q, h, i, c)];
          }
        }
      }
    }
  }
  return out;
}

struct Results {
  std::vector<float> y, lse, dq, dk, dv;
};

Results Run(const Problem& problem, CpuPath path, Compute compute, Parallel& parallel) {
  const AttentionShape& s = problem.shape;
  const auto nan = [](size_t size) { return NaNs(static_cast<int64_t>(size)); };
  Results r{nan(problem.dy.size()), NaNs(s.batch * s.heads * s.queries), nan(problem.q.size()),
            nan(problem.k.size()), nan(problem.v.size())};
  const AttentionKernel kernel(path, compute);
  kernel.Forward(s, problem.q.data(), problem.k.data(), problem.v.data(), problem.mask, r.y.data(),
                 r.lse.data(), parallel);
  kernel.Backward(s, problem.dy.data(), problem.q.data(), problem.k.data(), problem.v.data(), r.y.data(),
                  r.lse.data(), problem.mask, r.dq.data(), r.dk.data(), r.dv.data(), parallel);
  return r;
}

void Check(const char* what, const Problem& problem) {
  const Gradients expected = Reference(problem);
  ThreadPool pool(2);
  for (CpuPath path : SupportedCpuPaths()) {
    for (Compute compute : {Compute::kFp32, Compute::kBf16}) {
      Context() = Concat(what, " ", CpuPathName(path), " ", ComputeName(compute));
      const Results actual = Run(problem, path, compute, pool);
      const bool exact = compute == Compute::kFp32;
      EXPECT_AT_MOST(RelativeError(actual.y, expected.y), exact ? 3e-6 : 1e-2);
      EXPECT_AT_MOST(RelativeError(actual.dq, expected.dq), exact ? 2e-5 : 3e-2);
      EXPECT_AT_MOST(RelativeError(actual.dk, expected.dk), exact ? 2e-5 : 3e-2);
      EXPECT_AT_MOST(RelativeError(actual.dv, expected.dv), exact ? 3e-6 : 1e-2);
    }
  }
}

TEST(SizesOfZeroAndOne) {
  Check("all one", Problem(1, 1, 1, 1, 1, 1, 1, false));
  Check("no batch", Problem(0, 2, 1, 3, 3, 8, 8, false));
  Check("no queries", Problem(1, 2, 1, 0, 3, 8, 8, false));
  Check("values without features", Problem(1, 2, 1, 3, 3, 8, 0, true));
}

TEST(WithoutAMask) {
  Check("one", Problem(1, 1, 1, 2, 3, 1, 1, false));
  Check("plain", Problem(2, 3, 3, 50, 70, 19, 13, false));
  Check("bshd", Problem(2, 4, 2, 33, 130, 64, 64, true));
  Check("long", Problem(1, 2, 1, 200, 197, 17, 80, true));
}

TEST(CausalRule) {
  for (const int64_t keys : {150, 170, 131}) {
    Problem problem(1, 4, 2, 150, keys, 24, 16, true);
    problem.shape.causal = true;
    Check("causal", problem);
  }
}

// A causal mask with padded keys, as decoders export it: the lowest float where a query sees no key. With
// padding on the left some queries see none.
TEST(AddedMaskOfADecoder) {
  for (const bool left : {false, true}) {
    for (const float hidden : {-3.4028235e38f, -INFINITY}) {
      Problem problem(2, 2, 1, 140, 140, 16, 16, false);
      for (int64_t b = 0; b < 2; ++b) {
        for (int64_t i = 0; i < 140; ++i) {
          for (int64_t j = 0; j < 140; ++j) {
            const bool padded = b == 1 && (left ? j < 70 : j >= 100);
            problem.added.push_back(j <= i && !padded ? 0.0f : hidden);
          }
        }
      }
      problem.mask.added = problem.added.data();
      problem.mask.batch = 140 * 140;
      problem.mask.query = 140;
      problem.mask.key = 1;
      Check(left ? "padded left" : "padded right", problem);
    }
  }
}

TEST(MasksOfKeysAndOfHeads) {
  Problem keys(3, 2, 2, 20, 90, 8, 8, false);
  for (int64_t i = 0; i < 3 * 90; ++i) keys.visible.push_back(i % 90 < 80 - i / 90 * 30 ? 1 : 0);
  keys.mask.visible = keys.visible.data();
  keys.mask.batch = 90;
  keys.mask.key = 1;
  Check("visible keys", keys);

  Problem biased(1, 3, 3, 40, 66, 8, 8, true);
  biased.added = RandomRows(3 * 40, 66, 9);
  biased.mask.added = biased.added.data();
  biased.mask.head = 40 * 66;
  biased.mask.query = 66;
  biased.mask.key = 1;
  Check("bias of heads", biased);

  Problem rows(1, 1, 1, 30, 10, 8, 8, false);
  for (int64_t i = 0; i < 30; ++i) rows.visible.push_back(i % 3 != 0);
  rows.mask.visible = rows.visible.data();
  rows.mask.query = 1;
  Check("visible queries", rows);
}

TEST(ThreadsDoNotChangeBits) {
  Problem problem(2, 4, 2, 130, 130, 32, 32, true);
  problem.shape.causal = true;
  ThreadPool pool(3);
  Serial serial;
  for (Compute compute : {Compute::kFp32, Compute::kBf16}) {
    const Results one = Run(problem, SelectCpuPath(), compute, serial),
                  three = Run(problem, SelectCpuPath(), compute, pool);
    EXPECT_TRUE(one.y == three.y && one.lse == three.lse && one.dq == three.dq && one.dk == three.dk &&
                one.dv == three.dv);
  }
}

}  // namespace
}  // namespace ortqlora::test
