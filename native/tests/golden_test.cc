// The one greedy text that everything here must give (tests/data/golden.json), by the C API alone and on whatever
// processor this runs: `golden_test MODEL.gguf golden.json`.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "../include/pocketllama.h"
#include "check.h"

namespace {

// What stands behind `"key": `; enough for a file of our own.
std::string_view value(std::string_view json, const std::string& key) {
  const size_t at = json.find("\"" + key + "\": ");
  if (at == std::string_view::npos) {
    check_failed(__FILE__, __LINE__, "the golden file has no " + key);
    return {};
  }
  return json.substr(at + key.size() + 4);
}

std::vector<int32_t> numbers(std::string_view json, const std::string& key) {
  const std::string_view all = value(json, key);
  std::string list(all.substr(0, all.find(']')));
  std::vector<int32_t> out;
  for (size_t i = list.find_first_of("0123456789"); i < list.size(); i = list.find_first_of("0123456789", i)) {
    char* end = nullptr;
    out.push_back(static_cast<int32_t>(std::strtol(&list[i], &end, 10)));
    i = static_cast<size_t>(end - list.data());
  }
  return out;
}

double number(std::string_view json, const std::string& key) {
  return std::strtod(std::string(value(json, key)).c_str(), nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: golden_test MODEL.gguf golden.json\n"), 2;
  std::ifstream file(argv[2]);
  const std::string json(std::istreambuf_iterator<char>(file), {});
  const std::vector<int32_t> expected = numbers(json, "tokens");
  std::vector<int32_t> history = numbers(json, "prompt_tokens");
  CHECK(!expected.empty() && !history.empty());
  std::printf("%s\n", pl_isa());

  pl_llm* const llm = pl_load(argv[1], nullptr);
  CHECK(llm != nullptr);
  pl_sampling sampling{};
  sampling.size = sizeof sampling;
  pl_sampling_defaults(&sampling);
  sampling.temperature = 0.0f;
  sampling.repetition_penalty = static_cast<float>(number(json, "repetition_penalty"));
  sampling.penalty_last_n = static_cast<int32_t>(number(json, "repetition_window"));
  // Instruction sets add floats in different orders, and an activation on the edge of two int8 steps may fall to either
  // side: logits differ by half a percent then. So the expected token need not be the highest by less than that.
  const float edge = 0.05f;
  int32_t favoured = 0;
  sampling.bias_tokens = &favoured, sampling.bias_values = &edge, sampling.n_bias = 1;
  std::vector<pl_item> items;
  for (const int32_t token : history) {
    items.push_back({token, 0, static_cast<int32_t>(items.size()), items.size() + 1 == history.size()});
  }
  for (const int32_t token : expected) {
    CHECK_EQ(pl_eval(llm, items.data(), static_cast<int64_t>(items.size()), nullptr), PL_OK);
    favoured = token;
    pl_sampler* const sampler = pl_sampler_new(&sampling);
    CHECK_EQ(pl_sample(llm, sampler, -1, history.data(), static_cast<int64_t>(history.size())), token);
    pl_sampler_free(sampler);
    items = {{token, 0, static_cast<int32_t>(history.size()), 1}};
    history.push_back(token);
  }
  pl_free(llm);
  return check_failures();
}
