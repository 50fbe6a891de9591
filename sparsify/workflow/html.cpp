// SPDX-License-Identifier: Apache-2.0
#include "workflow/html.hpp"

namespace sparsify {
namespace {

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 "
    "1em;color:#222;background:#fff}"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}pre{background:#f4f5f7;padding:1em;overflow-x:"
    "auto}"
    "table{border-collapse:collapse;width:100%}td,th{padding:2px 8px;text-align:left}td.n{text-align:right}"
    ".bar{background:#e4e7ec;height:12px;width:100%}.bar div{background:#2f6fd6;height:12px}"
    ".warn{background:#fff3cd;border-left:4px solid #d9a400;padding:.5em 1em}svg{width:100%;height:auto}";

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string html_page(const std::string& title, const std::string& body) {
  return "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
         "content='width=device-width'><title>" +
         escape_html(title) + " - sparsify</title><style>" + kStyle + "</style></head><body>\n<h1>" +
         escape_html(title) + "</h1>\n" + body + "</body></html>\n";
}

}  // namespace sparsify
