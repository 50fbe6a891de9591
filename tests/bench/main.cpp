// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <cxxopts.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "bench.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "sparsify/trainers/memory.hpp"

using namespace sparsify::bench;

namespace {

std::vector<Comparison> all_comparisons() {
  std::vector<Comparison> all;
  for (const auto& part :
       {mask_comparisons(), recipe_comparisons(), training_step_comparisons(), quantization_comparisons(),
        detection_comparisons(), detection_data_comparisons(), nms_comparisons()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::string isa() { return at::get_cpu_capability(); }

nlohmann::json to_json(const Record& record) {
  return {{"name", record.name},
          {"what", record.what},
          {"ratio", record.ratio},
          {"ratio_interval", {record.ratio_low, record.ratio_high}},
          {"ours_ms", record.ours_ms},
          {"baseline_ms", record.baseline_ms},
          {"pairs", record.pairs},
          {"threads", at::get_num_threads()},
          {"isa", isa()},
          {"precision", record.precision.empty() ? "fp32" : record.precision}};
}

void print(const Record& record) {
  std::printf(
      "%-20s ratio %.3f [%.3f, %.3f]  ours %.1f ms  baseline %.1f ms  (%d pairs, %d threads, %s, %s)\n%-20s "
      "%s\n",
      record.name.c_str(), record.ratio, record.ratio_low, record.ratio_high, record.ours_ms,
      record.baseline_ms, record.pairs, at::get_num_threads(), isa().c_str(),
      record.precision.empty() ? "fp32" : record.precision.c_str(), "", record.what.c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  sparsify::keep_freed_memory();  // as the program does
  cxxopts::Options options("sparsify_bench",
                           "Paired comparisons: ratio = time(ours) / time(baseline), below 1 is faster.");
  options.add_options()("json", "write the records to this file", cxxopts::value<std::string>())(
      "filter", "run only comparisons whose name contains this",
      cxxopts::value<std::string>()->default_value(""))("h,help", "this text");
  options.parse_positional("filter");
  options.positional_help("[FILTER]");
  try {
    const auto arguments = options.parse(argc, argv);
    if (arguments.count("help")) return std::cout << options.help(), 0;
    const auto filter = arguments["filter"].as<std::string>();
    const auto all = all_comparisons();
    auto records = nlohmann::json::array();
    for (const auto& comparison : all) {
      if (comparison.name.find(filter) == std::string::npos) continue;
      const auto record = comparison.run();
      print(record);
      records.push_back(to_json(record));
    }
    if (records.empty()) {
      std::cerr << "no comparison is called '" << filter << "'\n";
      return 2;
    }
    if (arguments.count("json"))
      sparsify::write_file_atomically(arguments["json"].as<std::string>(), records.dump(2) + "\n");
  } catch (const cxxopts::exceptions::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  } catch (const sparsify::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
