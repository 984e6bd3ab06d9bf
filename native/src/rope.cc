#include "rope.h"

#include <algorithm>
#include <cmath>

namespace pl {
namespace {

constexpr double kPi = 3.14159265358979323846;

// YaRN (Peng et al. 2023): high frequencies stay, low ones are stretched, between them a ramp.
void stretch_yarn(const Config& c, std::vector<double>& frequencies) {
  const double dim = static_cast<double>(c.rope_dim);
  // The dimension whose wave turns `rotations` times within the original context.
  const auto dimension = [&](double rotations) {
    return dim * std::log(static_cast<double>(c.rope_ctx_original) / (rotations * 2 * kPi)) /
           (2 * std::log(static_cast<double>(c.rope_base)));
  };
  double low = dimension(static_cast<double>(c.yarn_beta_fast)), high = dimension(static_cast<double>(c.yarn_beta_slow));
  if (c.yarn_truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, dim - 1);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / std::max(high - low, 0.001), 0.0, 1.0);
    frequencies[i] *= (1 - ramp) + ramp / static_cast<double>(c.rope_factor);
  }
}

}  // namespace

RopeTables::RopeTables(const Model& model, int64_t n_ctx) : half_(model.config.rope_dim / 2) {
  const Config& c = model.config;
  const Weights& w = model.weights;
  const auto plain = [&](double base) {
    std::vector<double> f(static_cast<size_t>(half_));
    for (size_t i = 0; i < f.size(); ++i) {
      f[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(c.rope_dim));
    }
    return f;
  };
  tables_.push_back({plain(static_cast<double>(c.rope_base)), 1.0, {}, {}});
  std::vector<double>& f = tables_[0].frequencies;
  const float* factors = w.rope_factors;
  switch (c.rope_scaling) {
    case RopeScaling::kNone:
      break;
    case RopeScaling::kLinear:
      for (double& x : f) x /= static_cast<double>(c.rope_factor);
      break;
    case RopeScaling::kYarn:
      stretch_yarn(c, f);
      break;
    case RopeScaling::kLongRope:
      break;
  }
  if (w.rope_factors_long || w.rope_factors_short) {
    factors = n_ctx > c.rope_ctx_original ? w.rope_factors_long : w.rope_factors_short;
  }
  if (factors) {
    for (size_t i = 0; i < f.size(); ++i) f[i] /= static_cast<double>(factors[i]);
  }
  tables_[0].magnitude = static_cast<double>(c.rope_magnitude);
  if (c.rope_base_local > 0) tables_.push_back({plain(static_cast<double>(c.rope_base_local)), 1.0, {}, {}});
}

void RopeTables::prepare(std::span<const int32_t> positions, bool further) {
  const size_t half = static_cast<size_t>(half_);
  for (Table& table : tables_) {
    const double magnitude = further ? 1.0 : table.magnitude;
    table.cos.resize(positions.size() * half);
    table.sin.resize(positions.size() * half);
    for (size_t i = 0; i < positions.size(); ++i) {
      for (size_t j = 0; j < half; ++j) {
        const double angle = static_cast<double>(positions[i]) * table.frequencies[j];
        table.cos[i * half + j] = static_cast<float>(std::cos(angle) * magnitude);
        table.sin[i * half + j] = static_cast<float>(std::sin(angle) * magnitude);
      }
    }
  }
}

}  // namespace pl
