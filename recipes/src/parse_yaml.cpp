// SPDX-License-Identifier: Apache-2.0
#include "parse_yaml.hpp"

#include <yaml-cpp/anchor.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace sparsify::yaml {
namespace {

constexpr std::size_t kDeepestNode = 32;
constexpr std::int64_t kMaxNodes = 100'000;
constexpr std::size_t kMaxDocuments = 16;

/// Builds the tree from yaml-cpp's events; its own tree would lose the places of aliases and hide duplicate
/// keys.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const Source& source) : source_(source) {}

  const std::vector<Document>& documents() const { return documents_; }
  Mark to_mark(const YAML::Mark& mark) const { return {mark.line, mark.column, source_.index()}; }
  /// Where the last key, value or bracket read so far begins.
  Mark last_mark() const { return last_mark_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_.size() >= kMaxDocuments) fail(source_, to_mark(mark), "more than 16 YAML documents");
    anchors_.clear();
    start_ = to_mark(mark);
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    leaf(mark, "", anchor, Kind::kNull, "");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    leaf(mark, tag, anchor, Kind::kScalar, value);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto& node = anchors_[anchor];
    if (!node || !node->complete)
      fail(source_, to_mark(mark), "this alias stands inside the value it refers to");
    ++node->aliases;
    place({node, to_mark(mark), true});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Kind::kSequence);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Kind::kMapping);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    Ref ref;
    Ref key;  // of a mapping: read, its value not yet
  };

  std::shared_ptr<Node> make(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                             Kind kind) {
    last_mark_ = to_mark(mark);
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->mark = to_mark(mark);
    node->quoted = tag == "!";  // yaml-cpp: "?" for plain scalars, "!" for quoted ones
    if (tag != "?" && tag != "!") node->tag = tag;
    if (anchor != YAML::NullAnchor) anchors_[anchor] = node;
    return node;
  }

  void leaf(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Kind kind,
            const std::string& text) {
    auto node = make(mark, tag, anchor, kind);
    node->text = text;
    node->complete = true;
    place({node, node->mark});
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Kind kind) {
    const auto node = make(mark, tag, anchor, kind);
    if (levels_.size() >= kDeepestNode) fail(source_, node->mark, "nested more than 32 levels deep");
    levels_.push_back({{node, node->mark}, {}});
  }

  void close() {
    const auto done = levels_.back().ref;
    levels_.pop_back();
    done.node->complete = true;
    place(done);
  }

  void place(Ref ref) {
    if (ref.node->kind == Kind::kNull && !ref.alias) ref.mark = place_of_nothing(ref.mark);
    if (levels_.empty()) {
      documents_.push_back({ref, start_});
      return;
    }
    auto& level = levels_.back();
    auto& node = *level.ref.node;
    node.expanded += ref.node->expanded;
    if (node.expanded > kMaxNodes)
      fail(source_, ref.mark, "more than 100000 values once aliases are followed; this is no recipe");
    if (node.kind == Kind::kSequence) {
      node.items.push_back(ref);
    } else if (!level.key.node) {
      check_key(node, ref);
      level.key = ref;
    } else {
      node.entries.emplace_back(std::exchange(level.key, {}), ref);
    }
  }

  /// yaml-cpp gives an empty value the place of what follows; its key or dash on an earlier line says more.
  Mark place_of_nothing(Mark mark) const {
    if (levels_.empty()) return mark;
    const auto& level = levels_.back();
    if (level.key.node) return level.key.mark.line < mark.line ? level.key.mark : mark;
    for (auto line = std::min(mark.line, std::ssize(source_.lines())) - 1; line >= level.ref.mark.line;
         --line) {
      const auto& text = source_.lines()[static_cast<std::size_t>(line)];
      const auto last = text.substr(0, text.find('#')).find_last_not_of(" \t\r");
      if (last != std::string::npos && text[last] == '-')
        return {line, static_cast<std::int64_t>(last), mark.file};
      if (last != std::string::npos) break;
    }
    return mark;
  }

  void check_key(const Node& mapping, const Ref& key) {
    if (key.node->kind != Kind::kScalar || key.alias || !key.node->tag.empty())
      fail(source_, key.mark, "a key must be a plain name, got " + describe(key));
    const auto& name = key.node->text;
    if (name == "<<")
      fail(source_, key.mark, "merge keys ('<<') are not part of recipes; write the fields out");
    if (mapping.entries.size() > 10'000) fail(source_, key.mark, "more than 10000 keys in one mapping");
    auto& known = keys_[&mapping];
    const auto [first, is_new] = known.emplace(name, key.mark);
    if (!is_new)
      fail(source_, key.mark,
           "'" + name + "' is given twice; the first is on line " + std::to_string(first->second.line + 1));
  }

  const Source& source_;
  std::vector<Level> levels_;
  std::map<YAML::anchor_t, std::shared_ptr<Node>> anchors_;
  std::map<const Node*, std::map<std::string, Mark>> keys_;
  std::vector<Document> documents_;
  Mark start_;
  Mark last_mark_;
};

/// yaml-cpp's terse message in words that help.
std::string explain(const std::string& message) {
  const std::pair<const char*, const char*> hints[] = {
      {"end of map not found",
       "not valid YAML here: check the indentation of this line against the lines above"},
      {"end of sequence not found",
       "not valid YAML here: expected another '- ' entry at the list's indentation"},
      {"end of map flow not found", "not valid YAML: a '{' is not closed; expected ',' or '}'"},
      {"end of sequence flow not found", "not valid YAML: a '[' is not closed; expected ',' or ']'"},
      {"illegal map value",
       "not valid YAML: a ':' is not allowed here; check the indentation, or quote the text"},
      {"illegal block entry", "not valid YAML: a list entry '- ' is not allowed here; check the indentation"},
      {"illegal map key", "not valid YAML: a key is not allowed here; check the indentation"},
      {"invalid map key", "not valid YAML: this is no key"},
      {"the referenced anchor is not defined",
       "this alias refers to no anchor; write '&name' where the value is"},
  };
  for (const auto& [from, to] : hints)
    if (message.rfind(from, 0) == 0) return to;
  return "not valid YAML: " + message;
}

/// YAML forbids tabs as indentation and yaml-cpp then complains about something else; finds the first such
/// tab.
bool find_tab(const Source& source, std::int64_t last_line, Mark& mark) {
  for (std::int64_t line = 0; line <= last_line && line < std::ssize(source.lines()); ++line) {
    const auto& text = source.lines()[static_cast<std::size_t>(line)];
    const auto content = text.find_first_not_of(" \t");
    const auto tab = text.find('\t');
    if (content == std::string::npos || text[content] == '#' || tab >= content) continue;
    mark = {line, static_cast<std::int64_t>(tab), source.index()};
    return true;
  }
  return false;
}

}  // namespace

std::string describe(const Ref& value) {
  switch (value.node->kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kSequence:
      return "a list";
    case Kind::kMapping:
      return "a mapping";
    case Kind::kScalar:
      break;
  }
  const auto& node = *value.node;
  auto shown = node.text.size() > 60 ? node.text.substr(0, 57) + "..." : node.text;
  std::replace(shown.begin(), shown.end(), '\n', ' ');
  shown = (node.quoted ? "the text '" : "'") + shown + "'";
  return node.argument.empty() ? shown : shown + " (from " + node.argument + ")";
}

std::vector<Document> parse(const std::string& text, const Source& source) {
  // At a line's end yaml-cpp takes an unclosed quote for closed, but not at the end of this comment.
  std::istringstream stream(text + "\n#");
  TreeBuilder builder(source);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    Mark mark = error.mark.is_null() ? Mark{0, 0, source.index()} : builder.to_mark(error.mark);
    Mark tab;
    if (find_tab(source, mark.line, tab))
      fail(source, tab, "a tab is used as indentation; YAML allows only spaces there");
    if (error.msg == YAML::ErrorMsg::EOF_IN_SCALAR)
      fail(source, builder.last_mark(), "not valid YAML: a quote opened here or after it is not closed");
    fail(source, mark, explain(error.msg));
  }
  auto documents = builder.documents();
  if (documents.empty()) documents.emplace_back();
  return documents;
}

}  // namespace sparsify::yaml
