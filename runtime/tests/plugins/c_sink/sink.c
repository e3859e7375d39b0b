/*
 * A sink in C: appends "offset payload" lines to the file that its configuration names, {"path": "..."}. It completes from a thread of its
 * own, refuses empty payloads one by one, and logs each batch. VERSION is what it says of itself, MARK what its lines begin with: so
 * that there can be several builds of it.
 */
#define _GNU_SOURCE
#include "iggy_connector.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef VERSION
#define VERSION "1.0"
#endif
#ifndef MARK
#define MARK ""
#endif

enum { MOST_INSTANCES = 64 };

typedef struct {
  uint32_t number;
  FILE *file;
} instance;

static instance instances[MOST_INSTANCES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const iggy_host *host;

#define TEXT(text) ((iggy_slice){(const uint8_t *)(text), sizeof(text) - 1})

static const iggy_descriptor descriptor = {
    .magic = IGGY_MAGIC,
    .abi_version = IGGY_ABI_VERSION,
    .size = sizeof(iggy_descriptor),
    .direction = IGGY_SINK,
    .panic = IGGY_PANIC_UNWIND,
    .name = {(const uint8_t *)"c_sink", 6},
    .version = {(const uint8_t *)VERSION, sizeof(VERSION) - 1},
};

const iggy_descriptor *iggy_connector_descriptor(void) { return &descriptor; }

uint32_t iggy_connector_shutdown_v1(uint64_t timeout_ms) {
  (void)timeout_ms;
  return 1; /* threads end with their call */
}

static void end(iggy_completion completion, uint32_t status, iggy_slice message, const void *value) {
  iggy_outcome outcome = {
      .size = sizeof(outcome), .status = status, .message = message, .failed_stride = sizeof(iggy_failed)};
  completion.complete(completion.context, &outcome, value);
}

static void say(uint32_t number, iggy_slice message, iggy_slice fields) {
  iggy_slice target = TEXT("c_sink");
  if (IGGY_LEVEL_INFO > __atomic_load_n(host->max_level, __ATOMIC_RELAXED) || !host->enabled(IGGY_LEVEL_INFO, target)) return;
  iggy_log_record record = {.size = sizeof(record),
                            .instance = number,
                            .level = IGGY_LEVEL_INFO,
                            .target = target,
                            .message = message,
                            .fields = fields};
  host->log(&record);
}

/* The file's name in {"path":"..."}; good enough for a test that knows what it writes. */
static char *path_in(iggy_slice config) {
  static const char key[] = "\"path\":\"";
  const char *found = memmem(config.ptr, config.len, key, sizeof(key) - 1);
  if (!found) return NULL;
  const char *start = found + sizeof(key) - 1;
  const char *stop = memchr(start, '"', config.len - (size_t)(start - (const char *)config.ptr));
  return stop ? strndup(start, (size_t)(stop - start)) : NULL;
}

/* The entry of an instance, or a free one for 0; the lock is held. */
static instance *entry_of(uint32_t number) {
  for (int i = 0; i < MOST_INSTANCES; i++)
    if (instances[i].number == number) return &instances[i];
  return NULL;
}

static FILE *file_of(uint32_t number) {
  pthread_mutex_lock(&lock);
  instance *entry = entry_of(number);
  FILE *file = entry ? entry->file : NULL;
  pthread_mutex_unlock(&lock);
  return file;
}

static int remember(uint32_t number, FILE *file) {
  pthread_mutex_lock(&lock);
  instance *entry = entry_of(0);
  if (entry) *entry = (instance){number, file};
  pthread_mutex_unlock(&lock);
  return entry != NULL;
}

static FILE *forget(uint32_t number) {
  pthread_mutex_lock(&lock);
  instance *entry = entry_of(number);
  FILE *file = entry ? entry->file : NULL;
  if (entry) *entry = (instance){0, NULL};
  pthread_mutex_unlock(&lock);
  return file;
}

void iggy_sink_open_v1(const iggy_open *open, uint64_t call, iggy_completion completion) {
  (void)call;
  host = open->host;
  char *path = path_in(open->config);
  if (!path) {
    end(completion, IGGY_FATAL, TEXT("path is missing"), NULL);
    return;
  }
  FILE *file = fopen(path, "ab");
  free(path);
  if (!file) {
    end(completion, IGGY_TRANSIENT, TEXT("the file cannot be opened"), NULL);
    return;
  }
  if (!remember(open->instance, file)) {
    fclose(file);
    end(completion, IGGY_FATAL, TEXT("too many instances"), NULL);
    return;
  }
  iggy_traits traits = {.size = sizeof(traits), .max_unsettled = 2};
  end(completion, IGGY_OK, TEXT(""), &traits);
}

typedef struct job {
  uint32_t number;
  const iggy_consumed_batch *batch;
  iggy_completion completion;
} job;

static const iggy_consumed_message *message_at(const iggy_consumed_batch *batch, size_t index) {
  return (const void *)((const char *)batch->messages + index * batch->stride);
}

static void *consume(void *argument) {
  job job = *(struct job *)argument;
  free(argument);
  FILE *file = file_of(job.number);
  if (!file) {
    end(job.completion, IGGY_CONTRACT, TEXT("there is no such instance"), NULL);
    return NULL;
  }
  size_t len = job.batch->len, empty = 0;
  iggy_failed *failed = calloc(len + 1, sizeof(*failed));
  for (size_t i = 0; i < len; i++) {
    const iggy_consumed_message *message = message_at(job.batch, i);
    if (message->payload.len == 0) {
      failed[empty++] = (iggy_failed){(uint32_t)i, IGGY_INVALID_DATA, TEXT("the payload is empty")};
      continue;
    }
    fprintf(file, MARK "%" PRIu64 " %.*s\n", message->offset, (int)message->payload.len, (const char *)message->payload.ptr);
  }
  fflush(file);
  char fields[64];
  int written = snprintf(fields, sizeof(fields), "{\"messages\":%zu}", len);
  say(job.number, TEXT("batch written"), (iggy_slice){(const uint8_t *)fields, (size_t)written});
  iggy_outcome outcome = {.size = sizeof(outcome),
                          .status = IGGY_OK,
                          .failed = failed,
                          .failed_len = empty,
                          .failed_stride = sizeof(iggy_failed)};
  job.completion.complete(job.completion.context, &outcome, NULL);
  free(failed);
  return NULL;
}

void iggy_sink_consume_v1(uint32_t number, uint64_t call, const iggy_consumed_batch *batch, iggy_completion completion) {
  (void)call;
  struct job *mine = malloc(sizeof(*mine));
  *mine = (job){number, batch, completion};
  pthread_t thread;
  if (pthread_create(&thread, NULL, consume, mine) != 0) {
    free(mine);
    end(completion, IGGY_TRANSIENT, TEXT("no thread can be started"), NULL);
    return;
  }
  pthread_detach(thread);
}

void iggy_sink_flush_v1(uint32_t number, uint64_t call, const iggy_flush_request *request, iggy_completion completion) {
  (void)call, (void)request;
  FILE *file = file_of(number);
  end(completion, file && fflush(file) == 0 ? IGGY_OK : IGGY_TRANSIENT, TEXT(""), NULL);
}

void iggy_sink_health_v1(uint32_t number, uint64_t call, iggy_completion completion) {
  (void)call;
  end(completion, file_of(number) ? IGGY_OK : IGGY_FATAL, TEXT(""), NULL);
}

/* Calls end by themselves at once. */
void iggy_sink_cancel_v1(uint32_t number, uint64_t call) { (void)number, (void)call; }

void iggy_sink_close_v1(uint32_t number, uint64_t call, iggy_completion completion) {
  (void)call;
  FILE *file = forget(number);
  end(completion, file && fclose(file) == 0 ? IGGY_OK : IGGY_FATAL, TEXT(""), NULL);
}
