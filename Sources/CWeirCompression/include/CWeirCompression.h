// SPDX-License-Identifier: Apache-2.0
// One way to call three libraries: zlib, brotli and zstd. Their own interfaces are macros, or differ in every word.
#ifndef CWEIR_COMPRESSION_H
#define CWEIR_COMPRESSION_H

#include <stddef.h>
#include <stdint.h>

enum { weir_coding_gzip = 1, weir_coding_brotli = 2, weir_coding_zstd = 3 };
enum { weir_flush_none = 0, weir_flush_block = 1, weir_flush_end = 2 };

struct weir_encoder;

// NULL when there is no memory.
struct weir_encoder *weir_encoder_make(int coding, int level);
void weir_encoder_free(struct weir_encoder *encoder);
// Ready for another stream; 0 when it cannot be used again.
int weir_encoder_reset(struct weir_encoder *encoder);
// Takes from `in`, writes to `out`. Sets `taken` and `written`; `done` when all input is taken and all that the flush asks
// for has been written. Returns 0, or -1 on a defect of the library.
int weir_encoder_step(struct weir_encoder *encoder, int flush, const uint8_t *in, size_t count, uint8_t *out, size_t room,
                      size_t *taken, size_t *written, int *done);

#endif
