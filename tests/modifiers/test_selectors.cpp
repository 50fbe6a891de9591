// SPDX-License-Identifier: Apache-2.0
// Which parameters a selector chooses, by name, module, shape and place.
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "sparsify/selectors.hpp"

using namespace sparsify;
using Catch::Matchers::ContainsSubstring;
using Names = std::vector<std::string>;

namespace {

Parameters network(const std::string& prefix = "") {
  const auto weight = [&](const std::string& name, at::IntArrayRef shape, const char* type,
                          std::int64_t groups = 1) {
    return Parameter{prefix + name + ".weight", torch::zeros(shape), groups, type};
  };
  return {weight("conv1", {16, 3, 3, 3}, "Conv2d"),
          weight("bn1", {16}, "BatchNorm2d"),
          weight("layer1.0.conv1", {16, 16, 3, 3}, "Conv2d"),
          weight("layer1.0.conv2", {16, 1, 3, 3}, "Conv2d", 16),
          weight("layer10.0.conv2", {32, 16, 3, 3}, "Conv2d"),
          {prefix + "layer10.0.conv2.bias", torch::zeros({32}), 1, "Conv2d"},
          weight("fc", {10, 32}, "Linear")};
}

Names chosen(const Names& params, const Names& exclude = {}, const std::string& prefix = "") {
  auto names = names_of(select(network(prefix), params, exclude));
  for (auto& name : names) {
    REQUIRE(name.rfind(prefix, 0) == 0);
    name.erase(0, prefix.size());
  }
  return names;
}

const Names kPrunable = {"conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight",
                         "layer10.0.conv2.weight", "fc.weight"};

}  // namespace

TEST_CASE("names, globs and all of them") {
  CHECK(chosen({"fc.weight", "conv1.weight"}) == Names{"conv1.weight", "fc.weight"});  // the model's order
  CHECK(chosen({"layer*.conv2.*"}) ==
        Names{"layer1.0.conv2.weight", "layer10.0.conv2.weight", "layer10.0.conv2.bias"});
  CHECK(chosen({"__ALL_PRUNABLE__"}) == kPrunable);
  CHECK(chosen({"__ALL__"}).size() == 7);
  CHECK_THROWS_WITH(chosen({"layr1"}), ContainsSubstring("params: 'layr1' matches no parameter") &&
                                           ContainsSubstring("did you mean 'layer1'?"));
  CHECK_THROWS_WITH(chosen({"fc"}, {"cls"}), ContainsSubstring("exclude: 'cls' matches no parameter"));
  CHECK_THROWS_WITH(chosen({"fc"}, {"Linear"}),
                    ContainsSubstring("select no parameter that is not excluded"));
}

TEST_CASE("modules by name and by type choose their prunable weights") {
  CHECK(chosen({"layer1"}) == Names{"layer1.0.conv1.weight", "layer1.0.conv2.weight"});  // not layer10
  CHECK(chosen({"layer1.0.conv1"}) == Names{"layer1.0.conv1.weight"});
  CHECK(chosen({"layer10"}) == Names{"layer10.0.conv2.weight"});  // without the bias
  CHECK(chosen({"Linear"}) == Names{"fc.weight"});
  CHECK(chosen({"Conv2d"}).size() == 4);
  CHECK_THROWS_WITH(chosen({"BatchNorm2d"}), ContainsSubstring("matches no parameter"));
}

TEST_CASE("conditions on shapes, and the first and last layer") {
  CHECK(chosen({"channels<16"}) == Names{"conv1.weight", "layer1.0.conv2.weight"});
  CHECK(chosen({"channels <= 16"}).size() == 4);
  CHECK(chosen({"channels==32"}) == Names{"fc.weight"});
  CHECK(chosen({"groups>1"}) == Names{"layer1.0.conv2.weight"});
  CHECK(chosen({"elements>=2304"}) == Names{"layer1.0.conv1.weight", "layer10.0.conv2.weight"});
  CHECK(chosen({"__FIRST__"}) == Names{"conv1.weight"});
  CHECK(chosen({"__LAST__"}) == Names{"fc.weight"});
  CHECK(chosen({"__ALL_PRUNABLE__"}, {"channels<16", "__LAST__"}) ==
        Names{"layer1.0.conv1.weight", "layer10.0.conv2.weight"});
  CHECK(chosen({"__ALL_PRUNABLE__"}, {"channels<2", "groups>64"}).size() == 4);  // none is no mistake
  CHECK_THROWS_WITH(chosen({"channels<few"}), ContainsSubstring("expected a whole number after '<'"));
  CHECK_THROWS_WITH(chosen({"width<4"}), ContainsSubstring("a condition on channels, groups or elements"));
}

TEST_CASE("regular expressions mean what they mean in Python") {
  CHECK(chosen({"re:.*conv2.weight"}) == Names{"layer1.0.conv2.weight", "layer10.0.conv2.weight"});
  CHECK_THROWS_WITH(chosen({"re:conv2.*"}), ContainsSubstring("matches no parameter"));  // from the start
  const Names weights = {"layer1.0.conv1.weight", "layer1.0.conv2.weight", "layer10.0.conv2.weight"};
  for (const std::string layers :
       {R"(re:layer\d+\..*weight)", R"(re:layer[\d]+.*weight)", R"(re:layer[\w]*[.]0.*weight)",
        R"(re:layer[0-9\.]+[\w\.]+weight)", R"(re:(?:layer)[^\d]?1.*weight)",
        R"(re:layer[\]\d\-]+?\D.*weight)", R"(re:[k-m].*?weight)", R"(re:layer[^a-z^]+.*weight)"}) {
    INFO(layers);
    CHECK(chosen({layers}) == weights);
  }
  CHECK(chosen({R"(re:layer\d\W.*weight)"}) == Names{"layer1.0.conv1.weight", "layer1.0.conv2.weight"});
  for (const std::string words : {"(?!layer1)", "(?=layer1)", "(?i)LAYER", "(?<=layer)", "(?P<name>layer)"}) {
    INFO(words);
    CHECK_THROWS_WITH(chosen({"re:" + words + ".*"}),
                      ContainsSubstring("'re:" + words + ".*' uses '" + words.substr(0, 3) +
                                        "...', which is not supported: lookarounds, flags and named groups"));
  }
  CHECK_THROWS_WITH(chosen({"re:layer[0-9"}), ContainsSubstring("a '[' is not closed"));
  CHECK_THROWS_WITH(chosen({R"(re:layer[\D])"}), ContainsSubstring(R"('\D' inside [...])"));
  CHECK_THROWS_WITH(chosen({"re:layer("}), ContainsSubstring("is not a regular expression"));
  CHECK_THROWS_WITH(chosen({"re:"}, {"__ALL__"}), ContainsSubstring("that is not excluded"));
}

TEST_CASE("a DataParallel wrapper's prefix makes no difference, on either side") {
  const std::vector<std::pair<std::string, Names>> selectors = {
      {"fc.weight", {"fc.weight"}},
      {"layer1", {"layer1.0.conv1.weight", "layer1.0.conv2.weight"}},
      {"layer1.*", {"layer1.0.conv1.weight", "layer1.0.conv2.weight"}},
      {"re:layer1[.].*conv2.*", {"layer1.0.conv2.weight"}},
      {"re:.*conv2.weight", {"layer1.0.conv2.weight", "layer10.0.conv2.weight"}}};
  for (const std::string prefix : {"", "module."})
    for (const auto& [selector, expected] : selectors) {
      INFO(prefix << " " << selector);
      CHECK(chosen({selector}, {}, prefix) == expected);
      const bool pattern = selector.rfind("re:", 0) == 0;
      for (const std::string wrapper : {"module.", R"(module\.)", "module[.]"}) {
        if (!pattern && wrapper != "module.") continue;
        INFO(wrapper);
        CHECK(chosen({pattern ? "re:" + wrapper + selector.substr(3) : wrapper + selector}, {}, prefix) ==
              expected);
      }
    }
  // The wrapped name is tried as it is, too.
  CHECK(chosen({R"(re:(module\.)fc.*)"}, {}, "module.") == Names{"fc.weight"});
  CHECK(chosen({"re:module.*conv2.weight"}, {}, "module.").size() == 2);
}
