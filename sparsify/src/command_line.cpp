// SPDX-License-Identifier: Apache-2.0
#include "command_line.hpp"

#include <charconv>
#include <iostream>
#include <set>

#define CXXOPTS_VECTOR_DELIMITER '\0'  // a value may hold commas
#include <cxxopts.hpp>

#include "sparsify/suggest.hpp"
#include "workflow/input_error.hpp"

namespace sparsify {
namespace {

constexpr const char* kOperands = "operands";

/// cxxopts words its messages with typographic quotes around the bare name.
std::string plain(std::string message) {
  for (const char* quote : {"‘", "’"})
    for (std::size_t at = 0; (at = message.find(quote, at)) != std::string::npos;)
      message.replace(at, std::string(quote).size(), "'");
  return message;
}

}  // namespace

struct CommandLine::State {
  cxxopts::Options options;
  std::string command, usage, purpose, examples;
  std::vector<std::string> names;
  std::set<std::string> flags{};
  std::vector<std::string> operands{};
  cxxopts::ParseResult result{};

  void add(const std::string& group, const std::string& option_names, const std::string& meaning,
           const std::shared_ptr<const cxxopts::Value>& value, const std::string& placeholder) {
    options.add_options(group)(option_names, meaning, value, placeholder);
    for (std::size_t begin = 0; begin < option_names.size();) {
      const auto end = std::min(option_names.find(',', begin), option_names.size());
      names.push_back("--" + option_names.substr(begin, end - begin));
      begin = end + 1;
    }
  }

  std::string help() const {
    auto groups = options.groups();
    std::erase(groups, "");  // the operands
    auto listing = options.help(groups);
    listing.erase(0, listing.find("\n\n ") + 2);  // cxxopts' own title and usage
    return "usage: sparsify " + command + " " + usage + "\n\n" + purpose + "\n\nexamples:\n" + examples +
           "\n" + listing;
  }

  void refuse_unknown() const {
    for (const auto& unknown : result.unmatched()) {
      const auto name = unknown.substr(0, unknown.find('='));
      if (name.starts_with("-"))
        throw InputError("unknown option '" + name + "'" + suggestion(name, names) + "\nsee 'sparsify " +
                         command + " --help'");
    }
    if (!result.unmatched().empty())
      throw InputError("unexpected argument '" + result.unmatched().front() + "'");
  }
};

CommandLine::CommandLine(std::string command, std::string usage, std::string purpose, std::string examples)
    : state_(new State{cxxopts::Options("sparsify " + command),
                       std::move(command),
                       std::move(usage),
                       std::move(purpose),
                       std::move(examples),
                       {}}) {
  state_->options.set_width(110).allow_unrecognised_options();
  state_->options.add_options("")(kOperands, "", cxxopts::value<std::vector<std::string>>());
  state_->options.parse_positional(kOperands);
}
CommandLine::~CommandLine() = default;

void CommandLine::option(const std::string& group, const std::string& names, const std::string& meaning,
                         const std::string& placeholder) {
  state_->add(group, names, meaning, cxxopts::value<std::string>(), placeholder);
}
void CommandLine::repeated(const std::string& group, const std::string& name, const std::string& meaning,
                           const std::string& placeholder) {
  state_->add(group, name, meaning, cxxopts::value<std::vector<std::string>>(), placeholder);
}
void CommandLine::flag(const std::string& group, const std::string& name, const std::string& meaning) {
  state_->add(group, name, meaning, cxxopts::value<bool>(), "");
  state_->flags.insert("--" + name);
}

bool CommandLine::parse(const std::vector<std::string>& arguments) {
  flag("other", "help", "show this");
  std::vector<const char*> raw = {"sparsify"};
  for (const auto& argument : arguments) {
    if (argument == "-h") return std::cout << state_->help(), false;
    const auto equals = argument.find('=');
    if (equals != std::string::npos && state_->flags.count(argument.substr(0, equals)))
      throw InputError(argument.substr(0, equals) + " takes no value, got '" + argument.substr(equals + 1) +
                       "'");
    raw.push_back(argument.c_str());
  }
  try {
    state_->result = state_->options.parse(static_cast<int>(raw.size()), raw.data());
  } catch (const cxxopts::exceptions::exception& error) {
    throw InputError(plain(error.what()) + "\nsee 'sparsify " + state_->command + " --help'");
  }
  if (given("help")) return std::cout << state_->help(), false;
  state_->refuse_unknown();
  for (const auto& name : state_->names) {
    const auto bare = name.substr(2);
    if (state_->result.count(bare) > 1 && bare != "recipe-arg")
      throw InputError(name + " is given more than once");
  }
  if (given(kOperands)) state_->operands = state_->result[kOperands].as<std::vector<std::string>>();
  return true;
}

bool CommandLine::given(const std::string& name) const { return state_->result.count(name) > 0; }

std::string CommandLine::text(const std::string& name, const std::string& otherwise) const {
  return given(name) ? state_->result[name].as<std::string>() : otherwise;
}

std::vector<std::string> CommandLine::texts(const std::string& name) const {
  return given(name) ? state_->result[name].as<std::vector<std::string>>() : std::vector<std::string>{};
}

std::int64_t CommandLine::integer(const std::string& name, std::int64_t otherwise, std::int64_t lowest,
                                  std::int64_t highest) const {
  if (!given(name)) return otherwise;
  const auto value = text(name);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size() || number < lowest || number > highest)
    throw InputError("--" + name + ": got '" + value + "', expected a whole number from " +
                     std::to_string(lowest) + " to " + std::to_string(highest));
  return number;
}

const std::vector<std::string>& CommandLine::operands() const { return state_->operands; }

std::string CommandLine::operand(const std::string& what) const {
  const auto& all = operands();
  if (all.empty())
    throw InputError("missing argument: " + what + "\nsee 'sparsify " + state_->command + " --help'");
  if (all.size() > 1) throw InputError("unexpected argument '" + all[1] + "': one " + what + " is expected");
  return all.front();
}

}  // namespace sparsify
