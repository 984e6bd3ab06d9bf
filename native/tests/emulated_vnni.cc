// The kernels of avx_vnni.cc with the dot product emulated by AVX2's instructions, for kernels_test: all else is the same.
#define POCKETLLAMA_EMULATED_VNNI
#include "../src/kernels/avx2_vector.h"
#include "../src/kernels/panel_products.h"

void fill_emulated_vnni(pl::Kernels& table) { pl::fill_panel_products<pl::Avx2>(table); }
