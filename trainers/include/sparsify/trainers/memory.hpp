// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(__GLIBC__) || __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include <climits>

namespace sparsify {

/// Tells the C library to keep freed memory. A training step frees and asks again for hundreds of megabytes
/// of activations; returned to the system in between, every page of them faults again. For programs, once, at
/// the start of main.
inline void keep_freed_memory() {
#if defined(M_MMAP_THRESHOLD) && defined(M_TRIM_THRESHOLD)
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
}

}  // namespace sparsify
