// SPDX-License-Identifier: Apache-2.0
// What a MiB costs with each coding and level, by the gateway's own encoders: the best of seven rounds, in pieces of 16 KiB as
// they come from a service. Whole: nothing is flushed before the end. Flushed: after each piece, as with a stream.
#include "CWeirCompression.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { piece = 16 << 10, rounds = 7, streams = 64 };

struct file {
  unsigned char *bytes;
  size_t count;
};

static double cpu(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

// Bytes that came out; -1 when the library has failed.
static long encode(struct weir_encoder *encoder, struct file file, int flush, int last) {
  static unsigned char room[piece];
  long out = 0;
  for (size_t at = 0; at < file.count;) {
    size_t length = file.count - at < piece ? file.count - at : piece;
    int mode = at + length == file.count ? last : flush;
    size_t used = 0;
    for (int done = 0; !done;) {
      size_t taken = 0, written = 0;
      if (weir_encoder_step(encoder, mode, file.bytes + at + used, length - used, room, sizeof room, &taken, &written, &done) < 0)
        return -1;
      used += taken;
      out += written;
    }
    at += length;
  }
  return out;
}

static long resident(void) {
  long pages = 0;
  FILE *stream = fopen("/proc/self/statm", "r");
  if (!stream || fscanf(stream, "%*d %ld", &pages) != 1) exit(2);
  fclose(stream);
  return pages * sysconf(_SC_PAGESIZE);
}

// What so many streams hold that have had 256 KiB each and stay open, in a process of its own.
static long memory(int coding, int level, struct file file) {
  long *found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (file.count > 256 << 10) file.count = 256 << 10;
  pid_t child = fork();
  if (child == 0) {
    long before = resident();
    for (int i = 0; i < streams; i++) {
      struct weir_encoder *encoder = weir_encoder_make(coding, level);
      if (!encoder || encode(encoder, file, weir_flush_block, weir_flush_block) < 0) _exit(2);
    }
    *found = (resident() - before) / streams;
    _exit(0);
  }
  waitpid(child, NULL, 0);
  return *found;
}

static struct file read_whole(const char *path) {
  struct file file = {malloc(1 << 20), 0};
  FILE *stream = fopen(path, "rb");
  if (!stream || !file.bytes) exit(2);
  file.count = fread(file.bytes, 1, 1 << 20, stream);
  fclose(stream);
  return file;
}

int main(int count, char **paths) {
  struct { const char *name; int coding; int levels[5]; } codings[] = {
    {"gzip", weir_coding_gzip, {1, 4, 5, 6, 9}},
    {"brotli", weir_coding_brotli, {1, 3, 4, 5, 6}},
    {"zstd", weir_coding_zstd, {1, 3, 4, 6, 9}},
  };
  struct file files[8];
  int n = count - 1 < 8 ? count - 1 : 8;
  for (int i = 0; i < n; i++) files[i] = read_whole(paths[i + 1]);
  printf("| coding | level | ms/MiB text, code, JSON | ratio text, code, JSON | flushed: ms/MiB | flushed: ratio | memory of a stream, KiB |\n");
  printf("|---|---|---|---|---|---|---|\n");
  for (int c = 0; c < 3; c++)
    for (int l = 0; l < 5; l++) {
      double best[2][8];
      long out[2][8];
      for (int f = 0; f < n; f++)
        for (int flushed = 0; flushed < 2; flushed++) {
          best[flushed][f] = 1e9;
          for (int r = 0; r < rounds; r++) {
            double start = cpu();
            struct weir_encoder *encoder = weir_encoder_make(codings[c].coding, codings[c].levels[l]);
            if (!encoder) return 2;
            out[flushed][f] = encode(encoder, files[f], flushed ? weir_flush_block : weir_flush_none, weir_flush_end);
            double time = (cpu() - start) * (1 << 20) / files[f].count;
            if (out[flushed][f] < 0) return 2;
            weir_encoder_free(encoder);
            if (time < best[flushed][f]) best[flushed][f] = time;
          }
        }
      printf("| %s | %d |", codings[c].name, codings[c].levels[l]);
      for (int flushed = 0; flushed < 2; flushed++) {
        for (int f = 0; f < n; f++) printf("%s%.1f", f ? ", " : " ", best[flushed][f]);
        printf(" |");
        for (int f = 0; f < n; f++) printf("%s%.2f", f ? ", " : " ", (double)files[f].count / out[flushed][f]);
        printf(" |");
      }
      printf(" %ld |\n", memory(codings[c].coding, codings[c].levels[l], files[0]) >> 10);
    }
  return 0;
}
