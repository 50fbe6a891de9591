// SPDX-License-Identifier: Apache-2.0
#include <sparsify/session.hpp>

void use(const sparsify::Session& session) { auto copy = session; }
