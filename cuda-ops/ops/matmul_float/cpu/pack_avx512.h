#pragma once

// Packing on AVX-512, a template over the form of a dword. Included by one file per instruction set
// extension; everything is in the anonymous namespace, so that no two of them can be merged by the linker.

#include <immintrin.h>

#include "ops/matmul_float/cpu/pack_kernels.h"

namespace ortqlora {
namespace {

inline __mmask16 FirstOf16(int64_t count) {
  return count >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1u << (count < 0 ? 0 : count)) - 1u);
}

// v[i] = row i of a 16 x 16 matrix of dwords, to its columns.
inline void Transpose16(__m512i (&v)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    v[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    v[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    v[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(v[i], v[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(v[i], v[4 + i], 0xDD);
    t[8 + i] = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0xDD);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    v[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xDD);
    v[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    v[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xDD);
  }
}

// A Form makes dwords of fp32 values:
//   kElements             of the reduction in a dword
//   Along(p, left)        up to 16 dwords from elements that lie side by side along the reduction, `left` of
//   them Across(p, stride, n, lanes)  the dwords of one step for 16 columns that lie side by side: elements p
//   and, where
//                         n > 1, p + stride
// both times `factor`;
//   Whole(p, stride)      as Across for all elements of 16 columns, without the factor

template <class Form>
void PackRows(const PackRowsCall& call) {
  const Form form{_mm512_set1_ps(call.factor)};
  constexpr int64_t kElements = Form::kElements;
  const int64_t steps = (call.reduction + kElements - 1) / kElements;
  if (call.element_stride == 1 || call.row_stride != 1) {
    for (int64_t row = 0; row < call.rows; ++row) {
      const float* in = call.in + row * call.row_stride;
      std::byte* out = call.out + row * call.out_stride;
      for (int64_t s = 0; s < steps; s += 16) {
        const __m512i dwords = form.Along(in + s * kElements, call.reduction - s * kElements);
        _mm512_mask_storeu_epi32(out + 4 * s, FirstOf16(steps - s), dwords);
      }
    }
    return;
  }
  for (int64_t row = 0; row < call.rows; row += 16) {
    const int64_t rows = call.rows - row < 16 ? call.rows - row : 16;
    const __mmask16 lanes = FirstOf16(rows);
    for (int64_t s = 0; s < steps; s += 16) {
      __m512i block[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        const int64_t element = (s + i) * kElements;
        block[i] = form.Across(call.in + row + element * call.element_stride, call.element_stride,
                               call.reduction - element, lanes);
      }
      Transpose16(block);
      const __mmask16 mask = FirstOf16(steps - s);
      std::byte* out = call.out + row * call.out_stride + 4 * s;
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (i < rows) _mm512_mask_storeu_epi32(out + i * call.out_stride, mask, block[i]);
      }
    }
  }
}

// A panel whose columns lie side by side: row by row, as they lie in memory, for a column at a time would
// miss the cache at every step.
template <class Form>
void PackStripe(const PackPanelCall& call) {
  const Form form{_mm512_set1_ps(1.0f)};
  constexpr int64_t kElements = Form::kElements;
  const int64_t stride = call.element_stride, granule = call.granule_stride, columns = call.columns;
  const float* in = call.in;
  std::byte* out = call.out;
  int64_t left = call.reduction;
  if (columns == 64) {
    for (; left >= kElements; left -= kElements, in += kElements * stride, out += call.step_stride) {
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) _mm512_storeu_si512(out + g * granule, Form::Whole(in + 16 * g, stride));
    }
  }
  for (; left > 0; left -= kElements, in += kElements * stride, out += call.step_stride) {
    for (int64_t first = 0; first < columns; first += 16) {
      const __m512i dwords = form.Across(in + first, stride, left, FirstOf16(columns - first));
      _mm512_storeu_si512(out + first / 16 * granule, dwords);
    }
  }
}

template <class Form>
void PackPanel(const PackPanelCall& call) {
  const Form form{_mm512_set1_ps(1.0f)};
  constexpr int64_t kElements = Form::kElements;
  const int64_t steps = (call.reduction + kElements - 1) / kElements;
  if (call.column_stride == 1) {
    PackStripe<Form>(call);
    return;
  }
  for (int64_t first = 0; first < call.columns; first += 16) {
    const int64_t columns = call.columns - first < 16 ? call.columns - first : 16;
    std::byte* out = call.out + first / 16 * call.granule_stride;
    for (int64_t s = 0; s < steps; s += 16) {
      __m512i block[16];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        block[i] = i < columns ? form.Along(call.in + (first + i) * call.column_stride + s * kElements,
                                            call.reduction - s * kElements)
                               : _mm512_setzero_si512();
      }
      Transpose16(block);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (s + i < steps) _mm512_storeu_si512(out + (s + i) * call.step_stride, block[i]);
      }
    }
  }
}

template <class Form>
constexpr PackKernels MakePacking() {
  return {PackRows<Form>, PackPanel<Form>};
}

}  // namespace
}  // namespace ortqlora
