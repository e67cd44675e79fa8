// SPDX-License-Identifier: Apache-2.0
#include "CWeirCompression.h"

#include <brotli/encode.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

struct weir_encoder {
  int coding;
  int level;
  z_stream gzip;
  BrotliEncoderState *brotli;
  ZSTD_CCtx *zstd;
};

// Windows are small, so that a stream's memory is: 32 KiB of gzip (its largest), 256 KiB of the others.
enum { window_log = 18 };

static int make_brotli(struct weir_encoder *e) {
  e->brotli = BrotliEncoderCreateInstance(NULL, NULL, NULL);
  if (e->brotli == NULL) return 0;
  return BrotliEncoderSetParameter(e->brotli, BROTLI_PARAM_QUALITY, (uint32_t)e->level) &&
         BrotliEncoderSetParameter(e->brotli, BROTLI_PARAM_LGWIN, window_log);
}

struct weir_encoder *weir_encoder_make(int coding, int level) {
  struct weir_encoder *e = calloc(1, sizeof *e);
  if (e == NULL) return NULL;
  e->coding = coding;
  e->level = level;
  int good = 0;
  switch (coding) {
    case weir_coding_gzip:
      // 15 + 16: the largest window, in gzip's wrapping.
      good = deflateInit2(&e->gzip, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
      break;
    case weir_coding_brotli:
      good = make_brotli(e);
      break;
    case weir_coding_zstd:
      e->zstd = ZSTD_createCCtx();
      good = e->zstd != NULL && !ZSTD_isError(ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_compressionLevel, level)) &&
             !ZSTD_isError(ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_windowLog, window_log));
      break;
  }
  if (good) return e;
  weir_encoder_free(e);
  return NULL;
}

void weir_encoder_free(struct weir_encoder *e) {
  if (e == NULL) return;
  if (e->coding == weir_coding_gzip) deflateEnd(&e->gzip);
  if (e->brotli != NULL) BrotliEncoderDestroyInstance(e->brotli);
  if (e->zstd != NULL) ZSTD_freeCCtx(e->zstd);
  free(e);
}

int weir_encoder_reset(struct weir_encoder *e) {
  switch (e->coding) {
    case weir_coding_gzip:
      return deflateReset(&e->gzip) == Z_OK;
    case weir_coding_brotli:
      // The library has no way back to the beginning.
      BrotliEncoderDestroyInstance(e->brotli);
      e->brotli = NULL;
      return make_brotli(e);
    case weir_coding_zstd:
      return !ZSTD_isError(ZSTD_CCtx_reset(e->zstd, ZSTD_reset_session_only));
  }
  return 0;
}

static int step_gzip(struct weir_encoder *e, int flush, const uint8_t *in, size_t count, uint8_t *out, size_t room,
                     size_t *taken, size_t *written, int *done) {
  e->gzip.next_in = (Bytef *)in;
  e->gzip.avail_in = (uInt)count;
  e->gzip.next_out = out;
  e->gzip.avail_out = (uInt)room;
  int mode = flush == weir_flush_end ? Z_FINISH : flush == weir_flush_block ? Z_SYNC_FLUSH : Z_NO_FLUSH;
  int result = deflate(&e->gzip, mode);
  *taken = count - e->gzip.avail_in;
  *written = room - e->gzip.avail_out;
  // Nothing to do is no mistake.
  if (result == Z_BUF_ERROR) {
    *done = flush != weir_flush_end;
    return 0;
  }
  if (result != Z_OK && result != Z_STREAM_END) return -1;
  *done = flush == weir_flush_end ? result == Z_STREAM_END : e->gzip.avail_in == 0 && e->gzip.avail_out > 0;
  return 0;
}

static int step_brotli(struct weir_encoder *e, int flush, const uint8_t *in, size_t count, uint8_t *out, size_t room,
                       size_t *taken, size_t *written, int *done) {
  BrotliEncoderOperation operation = flush == weir_flush_end     ? BROTLI_OPERATION_FINISH
                                     : flush == weir_flush_block ? BROTLI_OPERATION_FLUSH
                                                                 : BROTLI_OPERATION_PROCESS;
  size_t left = count, free_room = room;
  if (!BrotliEncoderCompressStream(e->brotli, operation, &left, &in, &free_room, &out, NULL)) return -1;
  *taken = count - left;
  *written = room - free_room;
  *done = flush == weir_flush_end ? BrotliEncoderIsFinished(e->brotli) : left == 0 && !BrotliEncoderHasMoreOutput(e->brotli);
  return 0;
}

static int step_zstd(struct weir_encoder *e, int flush, const uint8_t *in, size_t count, uint8_t *out, size_t room,
                     size_t *taken, size_t *written, int *done) {
  ZSTD_inBuffer from = {in, count, 0};
  ZSTD_outBuffer to = {out, room, 0};
  ZSTD_EndDirective mode = flush == weir_flush_end ? ZSTD_e_end : flush == weir_flush_block ? ZSTD_e_flush : ZSTD_e_continue;
  size_t left = ZSTD_compressStream2(e->zstd, &to, &from, mode);
  *taken = from.pos;
  *written = to.pos;
  if (ZSTD_isError(left)) return -1;
  *done = from.pos == count && (flush == weir_flush_none ? to.pos < room : left == 0);
  return 0;
}

int weir_encoder_step(struct weir_encoder *e, int flush, const uint8_t *in, size_t count, uint8_t *out, size_t room,
                      size_t *taken, size_t *written, int *done) {
  static const uint8_t nothing;
  if (in == NULL) in = &nothing;
  switch (e->coding) {
    case weir_coding_gzip:
      return step_gzip(e, flush, in, count, out, room, taken, written, done);
    case weir_coding_brotli:
      return step_brotli(e, flush, in, count, out, room, taken, written, done);
    case weir_coding_zstd:
      return step_zstd(e, flush, in, count, out, room, taken, written, done);
  }
  return -1;
}
