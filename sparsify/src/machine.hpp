// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sparsify {

/// Whether this process computes with the reference BLAS of the distribution, which has no fast kernels.
bool uses_reference_blas();

}  // namespace sparsify
