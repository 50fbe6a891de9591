// SPDX-License-Identifier: Apache-2.0
#include "run_program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace cli {
namespace {

[[noreturn]] void become(const fs::path& folder, const std::string& program,
                         const std::vector<std::string>& arguments, const RunOptions& options,
                         const int (&out)[2], const int (&err)[2]) {
  dup2(out[1], STDOUT_FILENO), dup2(err[1], STDERR_FILENO);
  for (const int end : {out[0], out[1], err[0], err[1]}) close(end);
  if (chdir(folder.c_str()) != 0) _exit(127);
  if (options.file_size_limit > 0) {
    const rlimit limit{static_cast<rlim_t>(options.file_size_limit),
                       static_cast<rlim_t>(options.file_size_limit)};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  const auto path = fs::path(SPARSIFY_PROGRAM).parent_path().string() + ":" +
                    (std::getenv("PATH") ? std::getenv("PATH") : "");
  setenv("PATH", path.c_str(), 1);
  std::vector<char*> raw = {const_cast<char*>(program.c_str())};
  for (const auto& argument : arguments) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  execvp(program.c_str(), raw.data());
  _exit(127);
}

}  // namespace

Folder::Folder() {
  auto pattern = (fs::temp_directory_path() / "sparsify-cli-XXXXXX").string();
  if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::set<std::string> Folder::listing() const {
  std::set<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(path_))
    names.insert(fs::relative(entry.path(), path_).string());
  return names;
}

Outcome run(const fs::path& folder, const std::string& program, const std::vector<std::string>& arguments,
            const RunOptions& options) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  const pid_t child = fork();
  if (child == 0) become(folder, program, arguments, options, out, err);
  close(out[1]), close(err[1]);
  Outcome outcome;
  bool interrupted = false;
  pollfd ends[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  for (int open = 2; open > 0;) {
    poll(ends, 2, -1);
    for (int i = 0; i < 2; ++i) {
      if (ends[i].fd < 0 || ends[i].revents == 0) continue;
      char buffer[4096];
      const auto bytes = ::read(ends[i].fd, buffer, sizeof buffer);
      if (bytes <= 0) {
        ends[i].fd = -1, --open;
        continue;
      }
      (i == 0 ? outcome.out : outcome.err).append(buffer, static_cast<std::size_t>(bytes));
    }
    if (interrupted || options.interrupt_after.empty() ||
        outcome.err.find(options.interrupt_after) == std::string::npos)
      continue;
    kill(child, SIGINT);
    interrupted = true;
  }
  close(out[0]), close(err[0]);
  int status = 0;
  waitpid(child, &status, 0);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

Outcome sparsify(const fs::path& folder, const std::vector<std::string>& arguments,
                 const RunOptions& options) {
  return run(folder, SPARSIFY_PROGRAM, arguments, options);
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

nlohmann::json read_json(const fs::path& path) { return nlohmann::json::parse(read(path)); }

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

void write_image(const fs::path& path, int side, unsigned char red, unsigned char green, unsigned char blue) {
  const std::uint32_t row = static_cast<std::uint32_t>(side * 3 + 3) / 4 * 4,
                      pixels = row * static_cast<std::uint32_t>(side);
  std::string bytes = "BM";
  const auto put = [&](std::uint32_t value, int width) {
    for (int i = 0; i < width; ++i) bytes += static_cast<char>(value >> (8 * i));
  };
  put(54 + pixels, 4), put(0, 4), put(54, 4);
  put(40, 4), put(static_cast<std::uint32_t>(side), 4), put(static_cast<std::uint32_t>(side), 4), put(1, 2),
      put(24, 2);
  for (const std::uint32_t value : {0U, pixels, 2835U, 2835U, 0U, 0U}) put(value, 4);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x)
      for (const auto channel : {blue, green, red}) bytes += static_cast<char>(x == y ? 255 : channel);
    bytes.append(row - static_cast<std::uint32_t>(side) * 3, '\0');
  }
  write(path, bytes);
}

std::map<std::string, std::string> read_tensors(const fs::path& path) {
  const auto bytes = read(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  std::map<std::string, std::string> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto begin = entry.at("data_offsets")[0].get<std::uint64_t>(),
               end = entry.at("data_offsets")[1].get<std::uint64_t>();
    tensors[name] = bytes.substr(8 + length + begin, end - begin);
  }
  return tensors;
}

void overwrite_tensor(std::string& file, const std::string& name, const std::string& first_bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  const auto header = nlohmann::json::parse(file.substr(8, length));
  const auto begin = header.at(name).at("data_offsets")[0].get<std::uint64_t>();
  file.replace(8 + length + begin, first_bytes.size(), first_bytes);
}

std::string small_recipe(int epochs) {
  const auto text = std::to_string(epochs);
  return "version: 1\n"
         "sparsity: 0.8\n"
         "run: {model: resnet8_cifar, data: 'generated:train=512,val=128', batch_size: 32, lr: 0.05, "
         "workers: 1}\n"
         "training_modifiers:\n"
         "  - !EpochRangeModifier {start_epoch: 0, end_epoch: " +
         text +
         "}\n"
         "pruning_modifiers:\n"
         "  - !GMPruningModifier\n"
         "    params: __ALL_PRUNABLE__\n"
         "    init_sparsity: 0.05\n"
         "    final_sparsity: eval(sparsity)\n"
         "    start_epoch: 0\n"
         "    end_epoch: 1\n"
         "    update_frequency: 0.25\n"
         "quantization_modifiers:\n"
         "  - !QuantizationModifier {scheme: cpu, start_epoch: 1}\n";
}

}  // namespace cli
