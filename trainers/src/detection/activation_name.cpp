// SPDX-License-Identifier: Apache-2.0
#include "detection/activation_name.hpp"

#include <cctype>
#include <map>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify::detection {
namespace {

// In small letters, without "nn.", "inplace=True" and empty brackets.
std::string essence(const std::string& name) {
  std::string text;
  for (const char letter : name)
    if (letter != ' ') text += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  for (const std::string noise : {"torch.", "nn.", ",inplace=true", "inplace=true", "()"})
    if (const auto at = text.find(noise); at != std::string::npos) text.erase(at, noise.size());
  return text;
}

}  // namespace

Activation activation_by_name(const std::string& name) {
  static const std::map<std::string, Activation> known = {{"silu", Activation::kSilu},
                                                          {"leakyrelu(0.1)", Activation::kLeaky},
                                                          {"relu", Activation::kRelu},
                                                          {"mish", Activation::kMish},
                                                          {"identity", Activation::kLinear}};
  const auto found = known.find(essence(name));
  if (found != known.end()) return found->second;
  static const std::vector<std::string> names = {"nn.SiLU()", "nn.LeakyReLU(0.1)", "nn.ReLU()", "nn.Mish()",
                                                 "nn.Identity()"};
  std::string list;
  for (const auto& each : names) list += (list.empty() ? "" : ", ") + each;
  throw Error("expected an activation, one of " + list + ", got '" + name + "'" + suggestion(name, names));
}

}  // namespace sparsify::detection
