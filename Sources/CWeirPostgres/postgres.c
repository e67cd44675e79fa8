// SPDX-License-Identifier: Apache-2.0
#include "CWeirPostgres.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

// As libpq-fe.h has them (PostgreSQL 12 to 18, soname 5); kept here so that building needs no header.
enum { OK = 0, COMMAND_OK = 1, TUPLES_OK = 2, DIAGNOSTIC_STATE = 'C' };

static struct {
  void *(*connect)(const char *);
  int (*status)(const void *);
  char *(*error)(const void *);
  void (*finish)(void *);
  int (*socket)(const void *);
  void *(*run)(void *, const char *, int, const unsigned *, const char *const *, const int *, const int *, int);
  int (*result_status)(const void *);
  char *(*result_field)(const void *, int);
  int (*rows)(const void *);
  int (*is_null)(const void *, int, int);
  char *(*value)(const void *, int, int);
  void (*clear)(void *);
  int (*consume)(void *);
  void *(*notifies)(void *);
  void (*release)(void *);
  int is_there;
} pq;

static void load(void) {
#ifdef __APPLE__
  void *library = dlopen("libpq.5.dylib", RTLD_NOW | RTLD_LOCAL);
#else
  void *library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
#endif
  if (!library) return;
  const struct { const char *name; void *to; } names[] = {
      {"PQconnectdb", &pq.connect}, {"PQstatus", &pq.status}, {"PQerrorMessage", &pq.error},
      {"PQfinish", &pq.finish}, {"PQsocket", &pq.socket}, {"PQexecParams", &pq.run},
      {"PQresultStatus", &pq.result_status}, {"PQresultErrorField", &pq.result_field}, {"PQntuples", &pq.rows},
      {"PQgetisnull", &pq.is_null}, {"PQgetvalue", &pq.value}, {"PQclear", &pq.clear},
      {"PQconsumeInput", &pq.consume}, {"PQnotifies", &pq.notifies}, {"PQfreemem", &pq.release},
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *symbol = dlsym(library, names[i].name);
    if (!symbol) return;
    *(void **)names[i].to = symbol;
  }
  pq.is_there = 1;
}

int weir_pg_is_there(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load);
  return pq.is_there;
}

weir_pg *weir_pg_connect(const char *target) { return weir_pg_is_there() ? pq.connect(target) : NULL; }
int weir_pg_is_good(const weir_pg *connection) { return pq.status(connection) == OK; }
const char *weir_pg_error(const weir_pg *connection) { return pq.error(connection); }
void weir_pg_close(weir_pg *connection) { pq.finish(connection); }
int weir_pg_socket(const weir_pg *connection) { return pq.socket(connection); }

weir_pg_result *weir_pg_run(weir_pg *connection, const char *command, int count, const char *const *parameters) {
  return pq.run(connection, command, count, NULL, parameters, NULL, NULL, 0);
}

int weir_pg_succeeded(const weir_pg_result *result) {
  int status = pq.result_status(result);
  return status == COMMAND_OK || status == TUPLES_OK;
}

const char *weir_pg_state(const weir_pg_result *result) {
  const char *state = pq.result_field(result, DIAGNOSTIC_STATE);
  return state ? state : "";
}

int weir_pg_rows(const weir_pg_result *result) { return pq.rows(result); }

const char *weir_pg_value(const weir_pg_result *result, int row, int column) {
  return pq.is_null(result, row, column) ? NULL : pq.value(result, row, column);
}

void weir_pg_clear(weir_pg_result *result) { pq.clear(result); }

int weir_pg_notified(weir_pg *connection) {
  int seen = 0;
  void *one;
  if (!pq.consume(connection)) return -1;
  while ((one = pq.notifies(connection))) {
    seen = 1;
    pq.release(one);
  }
  return seen;
}
