// SPDX-License-Identifier: Apache-2.0
#include "workflow/recipe_plan.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <map>

#include "sparsify/trainers/optimizers.hpp"
#include "sparsify/window.hpp"
#include "workflow/chart.hpp"
#include "workflow/html.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

const char* const kColours[] = {"#2f6fd6", "#c0392b", "#27864a", "#8e44ad", "#d9a400", "#16808a"};

/// "sparsity", "sparsity of all together", "filter sparsity".
bool is_sparsity(const Schedule& schedule) { return schedule.what.find("sparsity") != std::string::npos; }

std::int64_t count_updates(const Schedule& schedule, std::int64_t end) {
  return schedule.value ? schedule.plan.updates_before(end) : 1;
}

/// The line of "file:line:column", with the file's name unless it is the recipe's own.
std::string line_of(const std::string& where, const std::string& recipe) {
  const auto place = where.substr(0, where.rfind(':'));
  const auto colon = place.rfind(':');
  if (colon == std::string::npos) return "";  // built in C++
  if (place.substr(0, colon) == recipe) return place.substr(colon + 1);
  return place.substr(place.rfind('/', colon) + 1);
}

std::string value_text(const Schedule& schedule, std::int64_t end) {
  if (!schedule.value) return "";
  const auto text = [&](std::int64_t step) {
    const double value = schedule.value(step);
    return is_sparsity(schedule) ? format_percent(value, 1) : format_number(value);
  };
  const auto first = text(schedule.plan.start), last = text(std::max(schedule.plan.start, end - 1));
  return first == last ? first : first + " to " + last;
}

}  // namespace

RecipePlan::RecipePlan(const RecipeFile& file, const std::string& model, std::int64_t steps_per_epoch)
    : model_(build_network(model)), optimizer_(make_optimizer(*model_, {})) {
  session_ = std::make_unique<Session>(file.recipe, *model_, *optimizer_, steps_per_epoch);
  epochs_ = std::max<std::int64_t>(1, file.recipe.epochs());
  if (const auto run = file.run.find("epochs"); run != file.run.end())
    epochs_ = std::max(epochs_, std::min<std::int64_t>(std::stoll(run->second.value), kMostEpochs));
  const auto& entries = file.recipe.entries();
  for (std::size_t i = 0; i < entries.size(); ++i)
    for (const auto& schedule : session_->schedules()[i])
      lines_.push_back({entries[i].type, line_of(entries[i].where, file.path.string()), schedule,
                        count_updates(schedule, end_of(schedule.plan))});
}

RecipePlan::~RecipePlan() = default;

double RecipePlan::epoch_of(std::int64_t step) const {
  return static_cast<double>(step) / static_cast<double>(session_->state().steps_per_epoch);
}

std::int64_t RecipePlan::end_of(const StepPlan& plan) const {
  return std::min(plan.end, std::max(plan.start + 1, epochs_ * session_->state().steps_per_epoch));
}

std::string plan_table(const RecipePlan& plan) {
  std::vector<std::vector<std::string>> rows = {
      {"modifier", "line", "what", "epochs", "steps", "updates", "value", "parameters"}};
  for (const auto& [modifier, line, schedule, updates] : plan.lines()) {
    const auto start = schedule.plan.start, end = plan.end_of(schedule.plan);
    rows.push_back({modifier, line, schedule.what,
                    format_number(plan.epoch_of(start)) + " to " + format_number(plan.epoch_of(end)),
                    std::to_string(start) + " to " + std::to_string(end - 1), std::to_string(updates),
                    value_text(schedule, end),
                    schedule.parameters.empty() ? "" : std::to_string(schedule.parameters.size())});
  }
  return format_table(rows);
}

std::string parameter_table(const RecipePlan& plan) {
  std::map<std::string, std::string> treatment;
  for (const auto& [modifier, line, schedule, updates] : plan.lines())
    for (const auto& name : schedule.parameters) {
      auto& text = treatment[name];
      const auto value = value_text(schedule, plan.end_of(schedule.plan));
      text += (text.empty() ? "" : "; ") + schedule.what + (value.empty() ? "" : " " + value) + " (" +
              modifier + ")";
    }
  std::vector<std::vector<std::string>> rows = {{"parameter", "shape", "elements", "gets"}};
  for (const auto& parameter : plan.session().state().parameters) {
    const auto found = treatment.find(parameter.name);
    if (found == treatment.end() && !parameter.prunable()) continue;
    std::string shape;
    for (const auto size : parameter.tensor.sizes())
      shape += (shape.empty() ? "" : " x ") + std::to_string(size);
    rows.push_back({parameter.name, shape, std::to_string(parameter.tensor.numel()),
                    found == treatment.end() ? "dense" : found->second});
  }
  return format_table(rows);
}

std::string plan_html(const RecipePlan& plan, const std::string& title) {
  constexpr int kPoints = 400;
  const auto last = static_cast<double>(plan.epochs());
  std::map<std::string, std::vector<const RecipePlan::Line*>> charts;
  std::vector<Bar> bars;
  for (const auto& line : plan.lines()) {
    const auto end = plan.end_of(line.schedule.plan);
    const bool point = !line.schedule.value || end == line.schedule.plan.start + 1;
    if (is_sparsity(line.schedule))
      charts["sparsity"].push_back(&line);
    else if (!point || line.schedule.what == "learning rate")
      charts[line.schedule.what].push_back(&line);
    else
      bars.push_back({line.schedule.what + " (" + line.modifier + ")",
                      plan.epoch_of(line.schedule.plan.start), plan.epoch_of(end)});
  }
  std::string body = "<p>" + std::to_string(plan.epochs()) + " epochs of " +
                     std::to_string(plan.session().state().steps_per_epoch) + " steps</p>\n";
  for (const auto& [what, lines] : charts) {
    double highest = what == "sparsity" ? 1 : 0;
    std::vector<std::vector<Point>> curves;
    for (const auto* line : lines) {
      const auto start = line->schedule.plan.start, end = plan.end_of(line->schedule.plan);
      std::vector<Point> points;
      for (int i = 0; i <= kPoints; ++i) {
        const auto step = start + (end - 1 - start) * i / kPoints;
        points.push_back({plan.epoch_of(step), line->schedule.value(step)});
        highest = std::max(highest, points.back().y);
      }
      // Masks, and rates set once, stay.
      if (what == "sparsity" || end == start + 1) points.push_back({last, points.back().y});
      curves.push_back(std::move(points));
    }
    Chart chart({0, 0}, {last, highest});
    for (std::size_t i = 0; i < curves.size(); ++i)
      chart.curve(what == "sparsity" ? std::to_string(lines[i]->schedule.parameters.size()) + " parameters"
                                     : lines[i]->modifier,
                  kColours[i % std::size(kColours)], curves[i]);
    body += "<h2>" + escape_html(what) + " by epoch</h2>\n" + chart.svg() + "\n";
  }
  if (!bars.empty()) body += "<h2>Phases</h2>\n" + bars_svg(bars, last) + "\n";
  return html_page(title, body + "<h2>Plan</h2>\n<pre>" + escape_html(plan_table(plan)) +
                              "</pre>\n<h2>Parameters</h2>\n<pre>" + escape_html(parameter_table(plan)) +
                              "</pre>\n");
}

}  // namespace sparsify
