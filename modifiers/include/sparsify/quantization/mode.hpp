// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sparsify/graph/forward_mode.hpp"
#include "sparsify/graph/sites.hpp"
#include "sparsify/quantization/histogram.hpp"
#include "sparsify/quantization/quantizers.hpp"

namespace sparsify {

/// Fake-quantizes one forward pass as the plan says, without touching the model. A planned tensor is rounded
/// when its first reader asks for it, so that in-place activations need no copy; every reader of the pass
/// gets the rounded one.
class QuantizationMode : public ForwardMode {
 public:
  /// Gets every tensor that the plan rounds, rounded, in the order of computation: the call site that made it
  /// ("....sigmoid" inside a SiLU) and its quantizer.
  using Watch = std::function<void(const std::string& site, int quantizer, const at::Tensor& rounded)>;
  struct Settings {
    bool training = true;
    bool observe = true;                           ///< ranges go on moving
    std::vector<Histogram>* histograms = nullptr;  ///< of the plan's activations: counts what it observes
    bool freeze_batch_norm = false;  ///< batch-norms use and keep their running statistics while training
    Watch watch{};                   ///< in evaluation only: it rounds once more
  };

  QuantizationMode(const Quantizers& quantizers, const Parameters& parameters, const Parameters& buffers,
                   Settings settings)
      : quantizers_(quantizers),
        parameters_(parameters),
        buffers_(buffers),
        settings_(settings),
        names_(parameters, buffers),
        sites_(names_),
        batch_(quantizers.plan().activations.size()),
        scales_(quantizers.plan().weights.size()) {}

  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, c10::Stack* stack) override {
    const auto& facts = operators_(op);
    if (facts.decompose) return run_inside(op, keys, stack);
    const c10::impl::ExcludeDispatchKeyGuard without_mode(kModeKey);
    const auto count = op.schema().arguments().size();
    auto* arguments = stack->data() + (stack->size() - count);
    const auto weight = sites_.enter(facts, arguments);
    note_inputs(facts, arguments, count);
    if (!sites_.is_foreign()) {
      round_inputs(op, facts, arguments, count);
      if (weight) round_weight(facts, weight, arguments);
      if (facts.short_name == "batch_norm") adjust_batch_norm(arguments);
      if (facts.short_name == "add") adjust_added_bias(arguments[1]);
    }
    if (facts.short_name == "silu" && silu_in_two_steps(facts, arguments)) {
      stack->resize(stack->size() - count + 1);  // the result lies where the input was
    } else {
      run_below(op, stack);
    }
    note_outputs(facts, *stack, op.schema().returns().size());
  }

  /// After the pass: what every quantizer saw. Throws when the pass met no quantized layer at all.
  const std::vector<Extent>& finish() const {
    if (visited_ == 0 && !quantizers_.plan().weights.empty())
      throw Error(
          "the forward pass used none of the quantized layers: it must run in the thread that called "
          "step.forward, "
          "with the model that the session was given");
    return batch_;
  }

 private:
  using Owner = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  struct Pending {
    Owner owner;  // keeps the address from being reused
    int quantizer;
    at::Tensor rounded;  // undefined until somebody reads
    bool observed;
  };

  // --- activations ---

  static const void* storage_of(const at::Tensor& tensor) {
    return tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
  }

  void note_inputs(const OperatorFacts& facts, const c10::IValue* arguments, std::size_t count) {
    input_storages_.clear();
    for (std::size_t i = 0; i < count; ++i)
      each_tensor(arguments[i], [&](const at::Tensor& tensor) {
        if (!tensor.defined()) return;
        input_storages_.push_back(storage_of(tensor));
        const int number = sites_.number_input(facts, tensor);
        if (number < 0 || pending_.count(tensor.unsafeGetTensorImpl())) return;
        const int quantizer = quantizers_.activation_at("input#" + std::to_string(number));
        if (quantizer < 0) return;
        make_pending(tensor, quantizer), captured_.insert(tensor.unsafeGetTensorImpl());
        show("input#" + std::to_string(number), quantizer, tensor);
      });
  }

  void make_pending(const at::Tensor& tensor, int quantizer) {
    for (auto entry = pending_.begin();
         entry != pending_.end();)  // nobody can read these any more: give their memory back
      entry = entry->second.owner.expired() ? pending_.erase(entry) : std::next(entry);
    last_pending_[storage_of(tensor)] = tensor.unsafeGetTensorImpl();
    pending_.insert_or_assign(tensor.unsafeGetTensorImpl(),
                              Pending{Owner(tensor.getIntrusivePtr()), quantizer, {}, false});
  }

  using PendingMap = std::unordered_map<const c10::TensorImpl*, Pending>;

  // Also through a TensorImpl made without an operator, as by `tensor.data()`.
  PendingMap::iterator find_pending(const at::Tensor& tensor) {
    if (!tensor.defined() || pending_.empty()) return pending_.end();
    const auto found = pending_.find(tensor.unsafeGetTensorImpl());
    if (found != pending_.end()) return found;
    const auto last = last_pending_.find(storage_of(tensor));
    if (last == last_pending_.end()) return pending_.end();
    const auto alias = pending_.find(last->second);
    if (alias == pending_.end()) return alias;
    const auto owner = alias->second.owner.lock();
    const bool same = owner && owner->storage().unsafeGetStorageImpl() == storage_of(tensor) &&
                      same_view(*owner, *tensor.unsafeGetTensorImpl());
    return same ? alias : pending_.end();
  }

  void round_inputs(const c10::OperatorHandle& op, const OperatorFacts& facts, c10::IValue* arguments,
                    std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      auto& value = arguments[i];
      if (value.isTensor()) {
        const auto found = find_pending(value.toTensor());
        if (found == pending_.end()) continue;
        const auto* alias = op.schema().arguments()[i].alias_info();
        if (alias && alias->isWrite()) {
          if (i == 0 && facts.in_place && facts.short_name != "copy")
            round_in_place(value.toTensor(), found->second);
          pending_.erase(found);
        } else {
          value = rounded(value.toTensor(), found->second);
        }
      } else if (value.isTensorList()) {
        round_list(value);
      }
    }
  }

  void round_list(c10::IValue& value) {
    auto tensors = value.toTensorVector();
    bool changed = false;
    for (auto& tensor : tensors) {
      const auto found = find_pending(tensor);
      if (found == pending_.end()) continue;
      tensor = rounded(tensor, found->second);
      changed = true;
    }
    if (changed) value = c10::IValue(std::move(tensors));
  }

  const at::Tensor& rounded(const at::Tensor& tensor, Pending& pending) {
    // A reader without gradients must not leave its copy to one that wants them.
    const bool stale =
        pending.rounded.defined() && detail::wants_gradient(tensor) != pending.rounded.requires_grad();
    if (!pending.rounded.defined() || stale)
      pending.rounded = fake_quantize(tensor, grid(pending.quantizer, tensor), observer(pending, tensor));
    return pending.rounded;
  }

  void round_in_place(const at::Tensor& tensor, Pending& pending) {
    if (captured_.count(tensor.unsafeGetTensorImpl())) return;  // the caller's own
    fake_quantize_(tensor, grid(pending.quantizer, tensor), observer(pending, tensor));
  }

  Extent* observer(Pending& pending, const at::Tensor& tensor) {
    return std::exchange(pending.observed, true) ? nullptr : seen(pending.quantizer, tensor);
  }

  Extent* seen(int quantizer, const at::Tensor& tensor) {
    if (!settings_.training || !settings_.observe) return nullptr;
    if (settings_.histograms) (*settings_.histograms)[static_cast<std::size_t>(quantizer)].add(tensor);
    return &batch_[quantizer];
  }

  // The first batch of all is measured before it is rounded; later ones are rounded with what came before.
  Grid grid(int quantizer, const at::Tensor& tensor) {
    if (quantizers_.ranges()[quantizer].batches > 0 || !settings_.training)
      return quantizers_.grid(quantizer);
    Extent first = batch_[quantizer];
    first.merge(extent_of(tensor));
    const auto& entry = quantizers_.plan().activations[quantizer];
    return make_grid(first, entry.range, entry.non_negative);
  }

  void note_outputs(const OperatorFacts& facts, const c10::Stack& stack, std::size_t count) {
    std::string site;
    for (std::size_t i = stack.size() - count; i < stack.size(); ++i)
      each_tensor(stack[i], [&](const at::Tensor& output) {
        if (!output.defined()) return;
        const auto* storage = storage_of(output);
        if (std::find(input_storages_.begin(), input_storages_.end(), storage) == input_storages_.end())
          sites_.note_computed(output);
        if (site.empty()) site = sites_.leave(facts, output);
        const int quantizer = sites_.is_foreign() ? -1 : quantizers_.activation_at(site);
        if (quantizer < 0 || !output.is_floating_point()) return;
        make_pending(output, quantizer);
        show(site, quantizer, output);
      });
  }

  // Integer engines round sigmoid(x) before they multiply by x.
  bool silu_in_two_steps(const OperatorFacts& facts, c10::IValue* arguments) {
    const int quantizer =
        sites_.is_foreign() ? -1 : quantizers_.activation_at(sites_.peek(facts) + ".sigmoid");
    if (quantizer < 0) return false;
    auto x = arguments[0].toTensor();
    const auto gate = x.sigmoid();
    const auto rounded_gate = fake_quantize(gate, grid(quantizer, gate), seen(quantizer, gate));
    show(sites_.peek(facts) + ".sigmoid", quantizer, gate);
    if (facts.in_place)
      x.mul_(rounded_gate);
    else
      arguments[0] = x.mul(rounded_gate);
    return true;
  }

  void show(const std::string& site, int quantizer, const at::Tensor& tensor) const {
    if (settings_.watch) settings_.watch(site, quantizer, fake_quantize(tensor, quantizers_.grid(quantizer)));
  }

  // --- weights and biases ---

  void round_weight(const OperatorFacts& facts, const TensorNames::Found& weight, c10::IValue* arguments) {
    const auto& site = sites_.here();
    const int layer = quantizers_.weight_at(site);
    if (layer < 0) {
      if (quantizers_.leaves_alone(weight.named->name)) return;
      throw Error(site +
                  " is not in the quantization plan: the forward pass that was recorded first did not make "
                  "this call");
    }
    ++visited_;
    const auto& parameter = weight.named->tensor;
    scales_[layer] = layer_scales(quantizers_, layer, parameter, parameters_, buffers_);
    const auto result =
        fake_quantize_weight(parameter, scales_[layer], quantizers_.plan().weights[layer].highest());
    arguments[facts.weight_argument] = weight.transposed ? result.t() : result;
    const int bias = facts.short_name == "addmm"                                    ? 0
                     : facts.short_name == "conv2d" || facts.short_name == "linear" ? 2
                                                                                    : -1;
    if (bias >= 0 && quantizers_.plan().weights[layer].batch_norm.empty())
      adjust_bias(layer, arguments[bias]);
  }

  bool moves_biases() const { return !settings_.training && quantizers_.plan().scheme == "cpu"; }

  void adjust_bias(int layer, c10::IValue& argument) {
    if (!moves_biases() || !argument.isTensor() || !argument.toTensor().defined()) return;
    const auto bias = argument.toTensor();
    auto values = detail::channel_values(bias);
    const double input_scale = quantizers_.grid(quantizers_.plan().weights[layer].input).scale;
    const auto* scale = scales_[layer].const_data_ptr<float>();
    if (static_cast<std::int64_t>(values.size()) != scales_[layer].numel()) return;
    for (std::size_t c = 0; c < values.size(); ++c) values[c] = round_bias(values[c], input_scale * scale[c]);
    argument = at::tensor(values, at::kDouble).to(bias.options().requires_grad(false));
  }

  // The bias that a linear layer of three dimensions adds after its product.
  void adjust_added_bias(c10::IValue& other) {
    if (!moves_biases() || !other.isTensor() || other.toTensor().dim() != 1) return;
    const auto found = names_.find(other.toTensor());
    const int layer = found ? quantizers_.layer_of_bias(found.named->name) : -1;
    if (layer >= 0 && scales_[layer].defined()) adjust_bias(layer, other);
  }

  // Arguments: input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled.
  void adjust_batch_norm(c10::IValue* arguments) {
    if (!arguments[3].isTensor()) return;
    const auto mean = names_.find(arguments[3].toTensor());
    if (!mean) return;
    if (settings_.freeze_batch_norm && settings_.training) arguments[5] = false;
    const int layer = quantizers_.layer_of_batch_norm(mean.named->name, sites_.here());
    if (layer < 0 || !scales_[layer].defined() || !moves_biases() || arguments[5].toBool()) return;
    arguments[2] = moved_beta(layer, arguments[2]);
  }

  // The beta with which the folded bias lies on the grid of its 32-bit integers.
  at::Tensor moved_beta(int layer, const c10::IValue& beta) const {
    const auto& entry = quantizers_.plan().weights[layer];
    const auto folded = fold(entry, scales_[layer].numel(), parameters_, buffers_);
    const double input_scale = quantizers_.grid(entry.input).scale;
    const auto* scale = scales_[layer].const_data_ptr<float>();
    const bool has_beta = beta.isTensor() && beta.toTensor().defined();
    auto values =
        has_beta ? detail::channel_values(beta.toTensor()) : std::vector<double>(folded.b.size(), 0);
    for (std::size_t c = 0; c < values.size(); ++c)
      values[c] += round_bias(folded.b[c], input_scale * scale[c] * std::fabs(folded.k[c])) - folded.b[c];
    const auto mean = Quantizers::batch_norm_tensor(entry, "running_mean");
    const auto& like = has_beta ? beta.toTensor() : find_named(buffers_, mean)->tensor;
    return at::tensor(values, at::kDouble).to(like.options().requires_grad(false));
  }

  const Quantizers& quantizers_;
  const Parameters& parameters_;
  const Parameters& buffers_;
  const Settings settings_;
  TensorNames names_;
  SiteNames sites_;
  Operators operators_;
  std::vector<Extent> batch_;
  std::vector<at::Tensor> scales_;
  PendingMap pending_;
  std::unordered_map<const void*, const c10::TensorImpl*> last_pending_;  ///< by storage
  std::unordered_set<const void*> captured_;
  std::vector<const void*> input_storages_;
  int visited_ = 0;
};

}  // namespace sparsify
