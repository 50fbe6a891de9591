// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/boxing/KernelFunction.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <memory>

namespace sparsify {

/// The dispatch key under which forward passes are watched: above autocast, autograd and the tracer.
/// PyTorch's sources reserve it for tests of exactly this.
constexpr c10::DispatchKey kModeKey = c10::DispatchKey::TESTING_ONLY_GenericMode;

/// Sees every operator that the thread calls while a ModeGuard is alive, with the parameters in full
/// precision.
class ForwardMode {
 public:
  virtual ~ForwardMode() = default;
  /// Must run the operator, by `run_below` or `run_inside`; arguments are the last values of `stack`.
  virtual void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, c10::Stack* stack) = 0;
};

/// Runs an operator without the mode: operators that it is made of are not seen.
inline void run_below(const c10::OperatorHandle& op, c10::Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard without_mode(kModeKey);
  op.callBoxed(stack);
}

/// Runs a composite operator so that the mode sees the operators it is made of instead. `keys` are those of
/// the call.
inline void run_inside(const c10::OperatorHandle& op, c10::DispatchKeySet keys, c10::Stack* stack) {
  op.redispatchBoxed(keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kModeKey), stack);
}

namespace detail {

// The active mode, in a thread-local of libc10: one for the process, whichever shared library this header is
// compiled into.
struct ActiveMode : c10::DebugInfoBase {
  explicit ActiveMode(ForwardMode* mode) : mode(mode) {}
  ForwardMode* mode;
};
constexpr auto kActiveModeSlot = c10::DebugInfoKind::TEST_INFO_2;

inline void mode_fallback(const c10::OperatorHandle& op, c10::DispatchKeySet keys, c10::Stack* stack) {
  const auto* active = static_cast<ActiveMode*>(c10::ThreadLocalDebugInfo::get(kActiveModeSlot));
  if (active && active->mode)
    active->mode->call(op, keys, stack);
  else
    run_below(op, stack);
}

// Once per process: another shared library may have been first. The handle is never released, because some
// other thread may be inside the kernel when the process ends.
inline void register_mode_fallback() {
  auto& dispatcher = c10::Dispatcher::singleton();
  if (dispatcher.hasBackendFallbackForDispatchKey(kModeKey)) return;
  try {
    static auto* const forever = new c10::RegistrationHandleRAII(dispatcher.registerFallback(
        kModeKey, c10::KernelFunction::makeFromBoxedFunction<&mode_fallback>(), "sparsify: forward mode"));
    (void)forever;
  } catch (const c10::Error&) {
    if (!dispatcher.hasBackendFallbackForDispatchKey(kModeKey))
      throw;  // else another thread was faster: all is well
  }
}

}  // namespace detail

/// Switches a mode on for the current thread until the guard dies. Guards nest; the innermost mode sees the
/// calls.
class ModeGuard {
 public:
  explicit ModeGuard(ForwardMode& mode)
      : registered_((detail::register_mode_fallback(), true)),
        active_(detail::kActiveModeSlot, std::make_shared<detail::ActiveMode>(&mode)),
        key_(kModeKey) {}
  ModeGuard(const ModeGuard&) = delete;
  ModeGuard& operator=(const ModeGuard&) = delete;

 private:
  bool registered_;  // first: the key must not be on before its kernel exists
  c10::DebugInfoGuard active_;
  c10::impl::IncludeDispatchKeyGuard key_;
};

/// Whether a mode sees what the current thread calls.
inline bool is_watched() {
  const auto* active =
      static_cast<detail::ActiveMode*>(c10::ThreadLocalDebugInfo::get(detail::kActiveModeSlot));
  return active && active->mode && c10::impl::tls_is_dispatch_key_included(kModeKey);
}

/// Suspends any mode for the current thread, for example around a teacher.
class ModePause {
 private:
  c10::impl::ExcludeDispatchKeyGuard key_{kModeKey};
};

}  // namespace sparsify
