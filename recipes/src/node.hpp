// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sparsify::yaml {

/// A place in a source; line and column count bytes from 0.
struct Mark {
  std::int64_t line = 0;
  std::int64_t column = 0;
  int file = 0;  ///< which source, as Source::index
};

enum class Kind { kNull, kScalar, kSequence, kMapping };

struct Node;

/// The use of a node at one place: an alias has its own mark and shares the node with its anchor.
struct Ref {
  std::shared_ptr<Node> node;
  Mark mark;
  bool alias = false;
};

/// A YAML value with its place. Aliases share nodes, so changing an anchored scalar changes every use of it.
struct Node {
  Kind kind = Kind::kNull;
  std::string tag;      ///< "!GMPruningModifier"; empty when there is none
  std::string text;     ///< of a scalar
  bool quoted = false;  ///< a quoted or block scalar is text, never a number
  Mark mark;
  std::vector<Ref> items;                    ///< of a sequence
  std::vector<std::pair<Ref, Ref>> entries;  ///< of a mapping, in the file's order
  bool complete = false;      ///< false while it is being parsed: an alias to it would be a cycle
  std::int64_t aliases = 0;   ///< how often it is used beside its own place
  std::int64_t expanded = 1;  ///< nodes in it once aliases are followed
  std::string argument;       ///< "--recipe-arg k=v" when that replaced the text
};

/// "a list", "a mapping", "nothing", "'abc'": for messages about a value of the wrong kind.
std::string describe(const Ref& value);

}  // namespace sparsify::yaml
