// How metadata's types are called and how large they are, and how a file's words are shown.
#include "error.h"
#include "gguf_parse.h"
#include "utf8_check.h"

namespace pl {

uint32_t value_size(ValueType type) {
  constexpr uint32_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kSizes[static_cast<uint32_t>(type)];
}

const char* value_type_name(ValueType type) {
  constexpr const char* kNames[] = {"UINT8", "INT8",   "UINT16", "INT16",  "UINT32", "INT32",  "FLOAT32",
                                    "BOOL",  "STRING", "ARRAY",  "UINT64", "INT64",  "FLOAT64"};
  return kNames[static_cast<uint32_t>(type)];
}

std::string shown(std::string_view value) {
  const bool utf8 = first_invalid_utf8(value) == std::string_view::npos;
  std::string out = "'";
  for (size_t i = 0; i < value.size(); ++i) {
    // Short, and cut between characters.
    if (i >= 60 && value.size() > 80 && (static_cast<unsigned char>(value[i]) & 0xC0) != 0x80) {
      return out + text("'… (%zu bytes)", value.size());
    }
    const auto c = static_cast<unsigned char>(value[i]);
    // 0xC2 0x80-0x9F are control characters too: a terminal may obey them.
    const bool two = c == 0xC2 && i + 1 < value.size() && static_cast<unsigned char>(value[i + 1]) < 0xA0;
    if (c < 0x20 || c == 0x7F || two || (c >= 0x80 && !utf8)) {
      out += text("\\x%02x", c);
      if (two) out += text("\\x%02x", static_cast<unsigned char>(value[++i]));
    } else if (c == '\'' || c == '\\') {
      out += {'\\', static_cast<char>(c)};
    } else {
      out += static_cast<char>(c);
    }
  }
  return out + "'";
}

}  // namespace pl
