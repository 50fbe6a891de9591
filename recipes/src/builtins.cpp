// SPDX-License-Identifier: Apache-2.0
#include "sparsify/load_recipe.hpp"
#include "sparsify/modifiers/acdc_pruning.hpp"
#include "sparsify/modifiers/as_reg.hpp"
#include "sparsify/modifiers/constant_pruning.hpp"
#include "sparsify/modifiers/distillation.hpp"
#include "sparsify/modifiers/epoch_range.hpp"
#include "sparsify/modifiers/global_magnitude_pruning.hpp"
#include "sparsify/modifiers/gradual_param.hpp"
#include "sparsify/modifiers/layer_pruning.hpp"
#include "sparsify/modifiers/learning_rate.hpp"
#include "sparsify/modifiers/learning_rate_function.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/mfac_pruning.hpp"
#include "sparsify/modifiers/movement_pruning.hpp"
#include "sparsify/modifiers/nm_pruning.hpp"
#include "sparsify/modifiers/obs_pruning.hpp"
#include "sparsify/modifiers/powerpropagation.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/modifiers/rigl_pruning.hpp"
#include "sparsify/modifiers/set_learning_rate.hpp"
#include "sparsify/modifiers/set_param.hpp"
#include "sparsify/modifiers/set_weight_decay.hpp"
#include "sparsify/modifiers/structured_pruning.hpp"
#include "sparsify/modifiers/topkast_pruning.hpp"
#include "sparsify/modifiers/trainable_params.hpp"

namespace sparsify {

// Here and not in their headers: registration makes a compiler generate all code of a modifier in every
// source that includes it, 19 s of a -O2 compilation for those of this library.
void register_builtin_modifiers() {
  static const bool done = [] {
    auto& known = registry();
    known.add<ACDCPruning>();
    known.add<ASReg>();
    known.add<ConstantPruning>();
    known.add<Distillation>();
    known.add<EpochRange>();
    known.add<GlobalMagnitudePruning>();
    known.add<GradualParam>();
    known.add<LayerPruning>();
    known.add<LearningRate>();
    known.add<LearningRateFunction>();
    known.add<MagnitudePruning>({"GMPruningModifier"});
    known.add<MFACPruning>();
    known.add<MovementPruning>();
    known.add<NMPruning>();
    known.add<OBSPruning>();
    known.add<Powerpropagation>();
    known.add<Quantization>();
    known.add<RigLPruning>();
    known.add<SetLearningRate>();
    known.add<SetParam>();
    known.add<SetWeightDecay>();
    known.add<StructuredPruning>();
    known.add<TopKASTPruning>();
    known.add<TrainableParams>();
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace sparsify
