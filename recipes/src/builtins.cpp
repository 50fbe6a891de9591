// SPDX-License-Identifier: Apache-2.0
#include "sparsify/load_recipe.hpp"
#include "sparsify/modifiers/constant_pruning.hpp"
#include "sparsify/modifiers/epoch_range.hpp"
#include "sparsify/modifiers/global_magnitude_pruning.hpp"
#include "sparsify/modifiers/learning_rate_function.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/nm_pruning.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/modifiers/set_learning_rate.hpp"
#include "sparsify/modifiers/set_weight_decay.hpp"
#include "sparsify/modifiers/trainable_params.hpp"

namespace sparsify {

// The headers register themselves as well; adding them by hand does not depend on when that happens.
void register_builtin_modifiers() {
  static const bool done = [] {
    auto& known = registry();
    known.add<ConstantPruning>();
    known.add<EpochRange>();
    known.add<GlobalMagnitudePruning>();
    known.add<LearningRateFunction>();
    known.add<MagnitudePruning>({"GMPruningModifier"});
    known.add<NMPruning>();
    known.add<Quantization>();
    known.add<SetLearningRate>();
    known.add<SetWeightDecay>();
    known.add<TrainableParams>();
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace sparsify
