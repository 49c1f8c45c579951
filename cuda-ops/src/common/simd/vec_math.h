#pragma once

// Functions on the Vec of the header included before this one, and loops over rows of them. A kernel written
// with these is compiled once a path; everything stays in the anonymous namespace, as all code that is
// compiled for one instruction set.

#include <cstdint>

namespace ortqlora {
namespace {

// Calls body(offset, count) for each vector's worth of elements; the last count may be smaller.
template <class Body>
inline void ForEachVec(int64_t count, const Body& body) {
  int64_t i = 0;
  for (; i + Vec::kLanes <= count; i += Vec::kLanes) body(i, Vec::kLanes);
  if (i < count) body(i, count - i);
}

// e^x to 2 units in the last place: 0 below -87.3, where the result would be subnormal, and at most 2.4e38.
// Range reduction and polynomial are those of the Cephes library.
inline Vec Exp(Vec x) {
  const Vec lowest = Vec::Set(-87.3f);
  const Vec in = Max(lowest, Min(Vec::Set(88.3762626647949f), x));
  const Vec n = Round(in * Vec::Set(1.44269504088896341f));
  Vec r = MultiplyAdd(n, Vec::Set(-0.693359375f), in);
  r = MultiplyAdd(n, Vec::Set(2.12194440e-4f), r);
  Vec p = Vec::Set(1.9875691500e-4f);
  p = MultiplyAdd(p, r, Vec::Set(1.3981999507e-3f));
  p = MultiplyAdd(p, r, Vec::Set(8.3334519073e-3f));
  p = MultiplyAdd(p, r, Vec::Set(4.1665795894e-2f));
  p = MultiplyAdd(p, r, Vec::Set(1.6666665459e-1f));
  p = MultiplyAdd(p, r, Vec::Set(5.0000001201e-1f));
  p = MultiplyAdd(p, r * r, r + Vec::Set(1.0f));
  return WhereLess(x, lowest, Vec::Set(0.0f), p * PowerOfTwo(n));
}

inline Vec Sigmoid(Vec x) {
  const Vec zero = Vec::Set(0.0f), one = Vec::Set(1.0f);
  const Vec small = Exp(zero - Max(zero - x, x));
  return WhereLess(x, zero, small, one) / (one + small);
}

// To 2e-7.
inline Vec Tanh(Vec x) { return MultiplyAdd(Vec::Set(2.0f), Sigmoid(x + x), Vec::Set(-1.0f)); }

// erf as a quotient of polynomials in x^2, fitted over [-4, 4], outside of which it is 1 in fp32 (the
// coefficients are those of Eigen). To 2e-7.
inline Vec Erf(Vec x) {
  const Vec in = Max(Vec::Set(-4.0f), Min(Vec::Set(4.0f), x));
  const Vec square = in * in;
  Vec p = Vec::Set(-2.72614225801306e-10f);
  p = MultiplyAdd(p, square, Vec::Set(2.77068142495902e-08f));
  p = MultiplyAdd(p, square, Vec::Set(-2.10102402082508e-06f));
  p = MultiplyAdd(p, square, Vec::Set(-5.69250639462346e-05f));
  p = MultiplyAdd(p, square, Vec::Set(-7.34990630326855e-04f));
  p = MultiplyAdd(p, square, Vec::Set(-2.95459980854025e-03f));
  p = MultiplyAdd(p, square, Vec::Set(-1.60960333262415e-02f));
  Vec q = Vec::Set(-1.45660718464996e-05f);
  q = MultiplyAdd(q, square, Vec::Set(-2.13374055278905e-04f));
  q = MultiplyAdd(q, square, Vec::Set(-1.68282697438203e-03f));
  q = MultiplyAdd(q, square, Vec::Set(-7.37332916720468e-03f));
  q = MultiplyAdd(q, square, Vec::Set(-1.42647390514189e-02f));
  return in * p / q;
}

}  // namespace
}  // namespace ortqlora
