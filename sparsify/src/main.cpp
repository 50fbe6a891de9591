// SPDX-License-Identifier: Apache-2.0
#include <c10/util/Exception.h>

#include <csignal>
#include <cstdio>
#include <iostream>
#include <new>

#include "commands/commands.hpp"
#include "sparsify/suggest.hpp"
#include "sparsify/trainers/data_error.hpp"
#include "sparsify/trainers/memory.hpp"
#include "workflow/input_error.hpp"

namespace {

using Arguments = std::vector<std::string>;

struct Command {
  const char* name;
  const char* purpose;
  int (*run)(const Arguments&);
};

constexpr Command kCommands[] = {
    {"train", "train a network under a recipe, export it, compare the export with it",
     sparsify::train_command},
    {"validate", "accuracy of a run, a checkpoint, weights, or an .onnx file", sparsify::validate_command},
    {"export", "write a trained model as ONNX for CPU or GPU engines", sparsify::export_command},
    {"predict", "find objects in images and draw their boxes", sparsify::predict_command},
    {"inspect", "shape, sparsity, 2:4 pattern and quantizers of every layer", sparsify::inspect_command},
    {"analyze", "how much each layer bears to be pruned and quantized; proposes a recipe",
     sparsify::analyze_command},
    {"recipe", "check recipes, list the ready-made ones", sparsify::recipe_command},
};

enum ExitCode { kOk = 0, kFailed = 1, kBadInput = 2, kInterrupted = 130 };

std::string usage() {
  std::string text =
      "usage: sparsify COMMAND ...\n\n"
      "Trains neural networks that are sparse and quantized, as a recipe says, and exports them to "
      "ONNX.\n\ncommands:\n";
  for (const auto& command : kCommands)
    text += "  " + std::string(command.name) + std::string(12 - std::string(command.name).size(), ' ') +
            command.purpose + "\n";
  return text +
         "\nbegin with:\n"
         "  sparsify train --recipe pruned_quant.yaml     a whole run on built-in data\n"
         "  sparsify recipe list                          the ready-made recipes\n"
         "  sparsify COMMAND --help                       options and examples\n\n"
         "exit codes: 0 done, 1 the work failed, 2 bad usage or bad input, 130 interrupted (resumable)\n";
}

const Command* find(const std::string& name) {
  for (const auto& command : kCommands)
    if (name == command.name) return &command;
  return nullptr;
}

int report(const std::string& command, const std::string& message, int code) {
  std::fflush(stdout);
  std::cerr << "sparsify" << (command.empty() ? "" : " " + command) << ": " << message << std::endl;
  return code;
}

int run(const Command& command, const Arguments& arguments) {
  try {
    return command.run(arguments);
  } catch (const sparsify::InputError& error) {
    return report(command.name, error.what(), kBadInput);
  } catch (const sparsify::trainers::DataError& error) {
    return report(command.name, error.what(), kBadInput);
  } catch (const sparsify::Interrupted& stopped) {
    return report(command.name, stopped.what(), kInterrupted);
  } catch (const c10::Error& error) {
    return report(command.name, error.what_without_backtrace(), kFailed);
  } catch (const std::bad_alloc&) {
    return report(command.name, "out of memory", kFailed);
  } catch (const std::exception& error) {
    return report(command.name, error.what(), kFailed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  sparsify::keep_freed_memory();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like a full disk, with a message
  const Arguments all(argv + 1, argv + argc);
  if (all.empty()) return std::cerr << usage(), kBadInput;
  const auto& first = all.front();
  if (first == "--help" || first == "-h" || first == "help") return std::cout << usage(), kOk;
  if (first == "--version") return std::cout << "sparsify " SPARSIFY_VERSION "\n", kOk;
  if (const auto* command = find(first)) return run(*command, {all.begin() + 1, all.end()});
  Arguments names;
  for (const auto& command : kCommands) names.emplace_back(command.name);
  return report("",
                "unknown " + std::string(first.starts_with("-") ? "option" : "command") + " '" + first + "'" +
                    sparsify::suggestion(first, names) + "\nsee 'sparsify --help'",
                kBadInput);
}
