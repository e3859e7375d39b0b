/*
 * Libraries that the daemon refuses, each made from this file with one of these defined: NO_DESCRIPTOR, OTHER_RUNTIME, NULL_DESCRIPTOR,
 * NO_FLUSH; or with another MAGIC, ABI, SIZE, DIRECTION, PANIC or TARGET. With none of them it is accepted.
 */
#include "iggy_connector.h"

#ifndef MAGIC
#define MAGIC IGGY_MAGIC
#endif
#ifndef ABI
#define ABI IGGY_ABI_VERSION
#endif
#ifndef SIZE
#define SIZE sizeof(iggy_descriptor)
#endif
#ifndef DIRECTION
#define DIRECTION IGGY_SINK
#endif
#ifndef PANIC
#define PANIC IGGY_PANIC_UNWIND
#endif
#ifndef TARGET
#define TARGET ""
#endif

#ifdef OTHER_RUNTIME
int iggy_sink_open(void) { return 0; }
#define NO_DESCRIPTOR
#endif

#ifndef NO_DESCRIPTOR
static const iggy_descriptor descriptor = {
    .magic = MAGIC,
    .abi_version = ABI,
    .size = SIZE,
    .direction = DIRECTION,
    .panic = PANIC,
    .target = {(const uint8_t *)TARGET, sizeof(TARGET) - 1},
};

const iggy_descriptor *iggy_connector_descriptor(void) {
#ifdef NULL_DESCRIPTOR
  (void)descriptor;
  return NULL;
#else
  return &descriptor;
#endif
}
#endif

uint32_t iggy_connector_shutdown_v1(uint64_t timeout_ms) {
  (void)timeout_ms;
  return 1;
}

static void done(iggy_completion completion, const void *value) {
  iggy_outcome outcome = {.size = sizeof(outcome), .status = IGGY_OK, .failed_stride = sizeof(iggy_failed)};
  completion.complete(completion.context, &outcome, value);
}

void iggy_sink_open_v1(const iggy_open *open, uint64_t call, iggy_completion completion) {
  (void)call;
  (void)open;
  iggy_traits traits = {.size = sizeof(traits)};
  done(completion, &traits);
}

void iggy_sink_consume_v1(uint32_t instance, uint64_t call, const iggy_consumed_batch *batch, iggy_completion completion) {
  (void)instance, (void)call, (void)batch;
  done(completion, NULL);
}

#ifndef NO_FLUSH
void iggy_sink_flush_v1(uint32_t instance, uint64_t call, const iggy_flush_request *request, iggy_completion completion) {
  (void)instance, (void)call, (void)request;
  done(completion, NULL);
}
#endif

void iggy_sink_health_v1(uint32_t instance, uint64_t call, iggy_completion completion) {
  (void)instance, (void)call;
  done(completion, NULL);
}

void iggy_sink_cancel_v1(uint32_t instance, uint64_t call) { (void)instance, (void)call; }

void iggy_sink_close_v1(uint32_t instance, uint64_t call, iggy_completion completion) {
  (void)instance, (void)call;
  done(completion, NULL);
}
