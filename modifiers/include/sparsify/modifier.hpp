// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "sparsify/state.hpp"
#include "sparsify/state_dict.hpp"

namespace sparsify {

/// One line of a recipe at work. The session calls the hooks in this order; each does nothing unless
/// overridden:
///
///   Session session(recipe, net, optimizer, steps_per_epoch);       // attach
///   for each optimizer step:
///     auto step = session.begin_step();                             // release, begin_step: schedules act
///     output = step.forward([&] { return net.forward(input); });    // forward: around the forward pass
///     step.teach([&] { return teacher.forward(input); });           // only if there is a teacher
///     step.loss(criterion(output, target)).backward();              // loss: may add terms
///     step.optimize();      // gradients (dense); masks on them; the optimizer's step; masks; end_step
///   session.evaluate([&] { return net.forward(input); });           // forward, with state.training false
///   session.calibrate([&] { net.forward(input); });                 // forward, with state.calibrating true
///   session.finish();                                               // finish: was the target reached?
class Modifier {
 public:
  explicit Modifier(Window window) : window_(window) {}
  virtual ~Modifier() = default;
  Modifier(const Modifier&) = delete;
  Modifier& operator=(const Modifier&) = delete;

  /// Once, when a session binds the recipe: select parameters, compile plans, claim what is set. May throw.
  virtual void attach(Binding&) {}
  /// Before any modifier's `begin_step`: what ends with this step lets go, so that another can take over.
  virtual void release(State&) {}
  /// Before the forward pass of every optimizer step. May be called again for the same step after an
  /// exception.
  virtual void begin_step(State&) {}
  /// Around every forward pass inside `step.forward` or `session.evaluate`; must call `run` exactly once.
  virtual void forward(State&, const std::function<void()>& run) { run(); }
  /// On every loss given to `step.loss`; returns the loss to differentiate.
  virtual at::Tensor loss(State&, at::Tensor loss) { return loss; }
  /// After backward, before gradients are masked and the optimizer steps.
  virtual void gradients(State&) {}
  /// After the optimizer step; masks already hold.
  virtual void end_step(State&) {}
  /// Once, at the end: throws Error when the target was not reached.
  virtual void finish(State&) {}
  /// State that cannot be derived from the step, by name; what `save` writes `load` reads back.
  virtual void save(StateDict&) const {}
  virtual void load(const StateDict&) {}

  const Window& window() const { return window_; }

 private:
  Window window_;
};

}  // namespace sparsify
