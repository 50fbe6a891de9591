// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/modifiers/constant_pruning.hpp"
#include "sparsify/modifiers/epoch_range.hpp"
#include "sparsify/modifiers/global_magnitude_pruning.hpp"
#include "sparsify/modifiers/gradual_param.hpp"
#include "sparsify/modifiers/gradual_pruning.hpp"
#include "sparsify/modifiers/learning_rate.hpp"
#include "sparsify/modifiers/learning_rate_function.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/nm_pruning.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/modifiers/set_learning_rate.hpp"
#include "sparsify/modifiers/set_param.hpp"
#include "sparsify/modifiers/set_weight_decay.hpp"
#include "sparsify/modifiers/trainable_params.hpp"
#include "sparsify/registry.hpp"
#include "sparsify/session.hpp"
