// SPDX-License-Identifier: Apache-2.0
#include "CWeirPostgres.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

// As libpq-fe.h has them (PostgreSQL 12 to 18, soname 5); kept here so that building needs no header.
enum { OK = 0, COMMAND_OK = 1, TUPLES_OK = 2, DIAGNOSTIC_STATE = 'C' };

// As libpq-fe.h has it.
struct weir_pg_options {
  const char *keyword, *environment, *compiled, *value, *label, *display;
  int size;
};

static struct {
  void *(*connect)(const char *const *, const char *const *, int);
  weir_pg_options *(*parse)(const char *, char **);
  void (*forget)(weir_pg_options *);
  int (*status)(const void *);
  char *(*error)(const void *);
  void (*finish)(void *);
  int (*socket)(const void *);
  int (*send)(void *, const char *, int, const unsigned *, const char *const *, const int *, const int *, int);
  int (*no_wait)(void *, int);
  int (*flush)(void *);
  int (*is_busy)(void *);
  void *(*result)(void *);
  int (*result_status)(const void *);
  char *(*result_field)(const void *, int);
  int (*rows)(const void *);
  int (*columns)(const void *);
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
      {"PQconnectdbParams", &pq.connect}, {"PQconninfoParse", &pq.parse},
      {"PQconninfoFree", &pq.forget}, {"PQstatus", &pq.status}, {"PQerrorMessage", &pq.error},
      {"PQfinish", &pq.finish}, {"PQsocket", &pq.socket}, {"PQsendQueryParams", &pq.send},
      {"PQsetnonblocking", &pq.no_wait}, {"PQflush", &pq.flush}, {"PQisBusy", &pq.is_busy}, {"PQgetResult", &pq.result},
      {"PQresultStatus", &pq.result_status}, {"PQresultErrorField", &pq.result_field}, {"PQntuples", &pq.rows},
      {"PQnfields", &pq.columns},
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

weir_pg_options *weir_pg_parse(const char *target) {
  char *error = NULL;
  weir_pg_options *options = pq.parse(target, &error);
  // It may say the whole target, with its password.
  if (error) pq.release(error);
  return options;
}

const char *weir_pg_secret(const weir_pg_options *options, int index) {
  for (; options->keyword; options++) {
    if (options->value && *options->value && options->display && *options->display == '*' && index-- == 0)
      return options->value;
  }
  return NULL;
}

void weir_pg_forget(weir_pg_options *options) { pq.forget(options); }

weir_pg *weir_pg_connect(const char *target) {
  // What comes later holds: a target may say all of these itself.
  const char *const keys[] = {"connect_timeout", "tcp_user_timeout", "keepalives", "keepalives_idle",
                              "keepalives_interval", "keepalives_count", "application_name", "dbname", NULL};
  const char *const values[] = {"5", "10000", "1", "10", "5", "3", "weir", target, NULL};
  void *connection = pq.connect(keys, values, 1);
  if (connection && pq.status(connection) == OK) pq.no_wait(connection, 1);
  return connection;
}

int weir_pg_is_good(const weir_pg *connection) { return pq.status(connection) == OK; }
const char *weir_pg_error(const weir_pg *connection) { return pq.error(connection); }
void weir_pg_close(weir_pg *connection) { pq.finish(connection); }
int weir_pg_socket(const weir_pg *connection) { return pq.socket(connection); }

int weir_pg_send(weir_pg *connection, const char *command, int count, const char *const *parameters) {
  return pq.send(connection, command, count, NULL, parameters, NULL, NULL, 0);
}

int weir_pg_flush(weir_pg *connection) { return pq.flush(connection); }

int weir_pg_take(weir_pg *connection) {
  if (!pq.consume(connection)) return -1;
  return pq.is_busy(connection) ? 0 : 1;
}

weir_pg_result *weir_pg_next(weir_pg *connection) { return pq.result(connection); }

int weir_pg_succeeded(const weir_pg_result *result) {
  int status = pq.result_status(result);
  return status == COMMAND_OK || status == TUPLES_OK;
}

const char *weir_pg_state(const weir_pg_result *result) {
  const char *state = pq.result_field(result, DIAGNOSTIC_STATE);
  return state ? state : "";
}

int weir_pg_rows(const weir_pg_result *result) { return pq.rows(result); }
int weir_pg_columns(const weir_pg_result *result) { return pq.columns(result); }

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
