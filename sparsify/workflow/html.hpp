// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace sparsify {

std::string escape_html(const std::string& text);

/// A whole page with our style; `body` is HTML. Nothing is loaded from elsewhere.
std::string html_page(const std::string& title, const std::string& body);

}  // namespace sparsify
