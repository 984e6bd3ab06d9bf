// Whether bytes are UTF-8, strictly: no overlong forms, surrogates, or numbers beyond U+10FFFF.
#pragma once

#include <cstddef>
#include <string_view>

namespace pl {

// Where the first character begins that is not UTF-8; npos if all are.
size_t first_invalid_utf8(std::string_view bytes);

}  // namespace pl
