// SPDX-License-Identifier: Apache-2.0
#include "logging.hpp"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/callback_sink.h>
#include <spdlog/spdlog.h>

#include "terminal.hpp"

namespace sparsify {

void log_to(Terminal& terminal) {
  auto sink =
      std::make_shared<spdlog::sinks::callback_sink_mt>([&terminal](const spdlog::details::log_msg& message) {
        const std::string text(message.payload.data(), message.payload.size());
        terminal.line(message.level >= spdlog::level::warn ? "warning: " + text : text);
      });
  auto logger = std::make_shared<spdlog::logger>("sparsify", sink);
  logger->set_error_handler([](const std::string&) {});  // a full disk must not stop a run for its log
  spdlog::set_default_logger(logger);
}

void log_to(const std::filesystem::path& file) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string());
    sink->set_pattern("%Y-%m-%d %H:%M:%S %l %v");
    spdlog::default_logger()->sinks().push_back(sink);
    spdlog::default_logger()->flush_on(spdlog::level::info);
  } catch (const spdlog::spdlog_ex& error) {
    spdlog::warn("{}: no log is written: {}", file.string(), error.what());
  }
}

}  // namespace sparsify
