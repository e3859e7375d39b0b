/*
 * The contract between the connectors runtime (host) and a plugin (guest), in C. It says the same as the Rust crate
 * iggy_connector_abi; a test compares every size and offset.
 *
 * A plugin is a shared library that exports iggy_connector_descriptor, iggy_connector_shutdown_v1 and either all
 * iggy_sink_*_v1 or all iggy_source_*_v1 functions declared below.
 *
 * The rules for every call:
 *
 * 1. Every function but the descriptor and the shutdown returns at once. Its result arrives through a completion, which the
 *    guest calls exactly once, from any thread, possibly before the function has returned.
 * 2. What a call lends (structs and everything their slices point at) is read-only and valid until its completion returns.
 *    The guest copies what it keeps.
 * 3. What a completion lends (the outcome, the value) is read-only and valid until the completion returns. The host copies
 *    what it keeps. A produced batch is the one exception: its memory stays the guest's until release.
 * 4. Nothing unwinds across the fence in either direction: no C++ exception, no longjmp.
 * 5. A struct with a size field may be longer than the reader knows (a newer writer) and is never shorter. Arrays carry a
 *    stride for the same reason: step by it, not by sizeof.
 * 6. Numbers that name a thing (status, level, schema, direction) may be unknown to the reader, which says so instead of
 *    guessing.
 */
#ifndef IGGY_CONNECTOR_H
#define IGGY_CONNECTOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The major version of the contract, part of every function's name. */
#define IGGY_ABI_VERSION 1u

/* ---- Slices ------------------------------------------------------------------------------------------------------------ */

/* Borrowed bytes, not ended by a zero. An empty slice may be null. */
typedef struct {
  const uint8_t *ptr;
  size_t len;
} iggy_slice;

/* ---- The handshake ----------------------------------------------------------------------------------------------------- */

/* First eight bytes of every descriptor: "IGGYCONN", little-endian. */
#define IGGY_MAGIC UINT64_C(0x4e4e4f4359474749)

#define IGGY_SINK 0u
#define IGGY_SOURCE 1u

/* A library that ends the process where it should unwind is refused. Plain C has neither: it says IGGY_PANIC_UNWIND. */
#define IGGY_PANIC_UNWIND 0u
#define IGGY_PANIC_ABORT 1u

/* What a library is. magic, abi_version and size keep their place in every version. */
typedef struct {
  uint64_t magic;           /* IGGY_MAGIC */
  uint32_t abi_version;     /* IGGY_ABI_VERSION */
  uint32_t size;            /* sizeof(iggy_descriptor) */
  uint32_t direction;       /* IGGY_SINK or IGGY_SOURCE */
  uint32_t panic;           /* IGGY_PANIC_UNWIND */
  iggy_slice name;          /* the plugin's name */
  iggy_slice version;       /* the plugin's version */
  iggy_slice sdk_version;   /* empty without the SDK */
  iggy_slice target;        /* target triple, or empty */
  iggy_slice config_schema; /* JSON Schema of plugin_config, or empty */
} iggy_descriptor;

/* Returns memory that is never freed or changed. The only function called before the handshake has passed. */
const iggy_descriptor *iggy_connector_descriptor(void);

/* ---- Outcomes ---------------------------------------------------------------------------------------------------------- */

#define IGGY_OK 0u           /* everything that is not listed as failed is durable */
#define IGGY_TRANSIENT 1u    /* worth trying again */
#define IGGY_INVALID_DATA 2u /* these records can never succeed */
#define IGGY_FATAL 3u        /* the connector cannot go on */
#define IGGY_PANICKED 4u     /* the author's code panicked */
#define IGGY_CANCELLED 5u    /* ended on request, before it had an effect */
#define IGGY_CONTRACT 6u     /* one side broke the contract */

/* One record of a batch that failed. */
typedef struct {
  uint32_t index;     /* position in the batch; each at most once */
  uint32_t status;    /* IGGY_TRANSIENT, IGGY_INVALID_DATA or IGGY_FATAL */
  iggy_slice message; /* why, in UTF-8 */
} iggy_failed;

/* How a call ended. */
typedef struct {
  uint32_t size; /* sizeof(iggy_outcome) */
  uint32_t status;
  iggy_slice message;        /* why, in UTF-8; may be empty */
  uint64_t retry_after_ms;   /* 0: the plugin does not know */
  const iggy_failed *failed; /* only with IGGY_OK */
  size_t failed_len;
  uint32_t failed_stride; /* sizeof(iggy_failed) */
  uint32_t reserved;      /* zero */
} iggy_outcome;

/*
 * Where the result of a call goes: complete(context, outcome, value), last of all and exactly once. The value is of the
 * call's type when the status is IGGY_OK, else null; a call without a value passes null always.
 */
typedef struct {
  void *context;
  void (*complete)(void *context, const iggy_outcome *outcome, const void *value);
} iggy_completion;

/* ---- The log ----------------------------------------------------------------------------------------------------------- */

#define IGGY_LEVEL_OFF 0u /* only in iggy_host.max_level */
#define IGGY_LEVEL_ERROR 1u
#define IGGY_LEVEL_WARN 2u
#define IGGY_LEVEL_INFO 3u
#define IGGY_LEVEL_DEBUG 4u
#define IGGY_LEVEL_TRACE 5u

/* One line of a plugin's log. */
typedef struct {
  uint32_t size;      /* sizeof(iggy_log_record) */
  uint32_t instance;  /* 0 when the guest cannot tell */
  uint32_t level;     /* one of IGGY_LEVEL_ERROR to IGGY_LEVEL_TRACE */
  uint32_t line;      /* in file; 0 when unknown */
  iggy_slice target;  /* where it came from, in UTF-8 */
  iggy_slice message; /* the text, in UTF-8 */
  iggy_slice fields;  /* structured fields as the text of one JSON object, or empty */
  iggy_slice file;    /* source file, or empty */
} iggy_log_record;

/* The host's functions: alive for ever, callable from any thread, also after close. */
typedef struct {
  uint32_t size;                                          /* sizeof(iggy_host) */
  uint32_t reserved;                                      /* zero */
  const uint32_t *max_level;                              /* to be read atomically (relaxed) */
  uint32_t (*enabled)(uint32_t level, iggy_slice target); /* whether a line would be logged: 1 or 0 */
  void (*log)(const iggy_log_record *record);
} iggy_host;

/* ---- Instances --------------------------------------------------------------------------------------------------------- */

/* What an instance is opened with. Lent until the completion. */
typedef struct {
  uint32_t size; /* sizeof(iggy_open) of the host */
  uint32_t instance;
  uint32_t worker_threads;
  uint32_t state_present; /* 1 when state holds a saved state (sources) */
  iggy_slice key;         /* the connector's key */
  iggy_slice config;      /* plugin_config as the text of one JSON value */
  iggy_slice state;
  const iggy_host *host;
} iggy_open;

/* What an instance tells about itself: the value of an open. */
typedef struct {
  uint32_t size;          /* sizeof(iggy_traits) */
  uint32_t exclusive;     /* 1 when no second instance may run beside this one */
  uint32_t max_unsettled; /* sinks; 0 means 1 */
  uint32_t max_in_flight; /* sources; 0 means 1 */
} iggy_traits;

/* Stops the library's threads before the process ends; blocks for at most timeout_ms. Returns 1 when all have stopped. */
uint32_t iggy_connector_shutdown_v1(uint64_t timeout_ms);

/* ---- Schemas ----------------------------------------------------------------------------------------------------------- */

#define IGGY_SCHEMA_JSON 0u
#define IGGY_SCHEMA_RAW 1u
#define IGGY_SCHEMA_TEXT 2u
#define IGGY_SCHEMA_PROTO 3u
#define IGGY_SCHEMA_FLAT_BUFFER 4u
#define IGGY_SCHEMA_AVRO 5u

/* ---- Sinks ------------------------------------------------------------------------------------------------------------- */

/* One message on its way out of Iggy. Times are in microseconds since the epoch. */
typedef struct {
  uint64_t id_low;
  uint64_t id_high;
  uint64_t offset;
  uint64_t checksum;
  uint64_t timestamp;
  uint64_t origin_timestamp;
  iggy_slice headers; /* user headers in Iggy's wire encoding, or empty */
  iggy_slice payload;
} iggy_consumed_message;

/* Messages of one partition, in order. */
typedef struct {
  uint32_t size;   /* sizeof(iggy_consumed_batch) of the host */
  uint32_t stride; /* bytes from one message to the next */
  const iggy_consumed_message *messages;
  size_t len;
  uint32_t schema;
  uint32_t partition_id;
  uint64_t current_offset;
  iggy_slice stream;
  iggy_slice topic;
} iggy_consumed_batch;

/* The value is an iggy_traits. An instance whose open did not end well does not exist. It is cancelled as call 0. */
void iggy_sink_open_v1(const iggy_open *open, iggy_completion completion);
void iggy_sink_consume_v1(uint32_t instance, uint64_t call, const iggy_consumed_batch *batch, iggy_completion completion);
/* Makes everything that was handed over durable. */
void iggy_sink_flush_v1(uint32_t instance, uint64_t call, iggy_completion completion);
void iggy_sink_health_v1(uint32_t instance, uint64_t call, iggy_completion completion);
/* Asks a call to end: it completes with IGGY_CANCELLED unless it has completed. Unknown numbers are no error. */
void iggy_sink_cancel_v1(uint32_t instance, uint64_t call);
/* Every other call of the instance has completed. */
void iggy_sink_close_v1(uint32_t instance, uint64_t call, iggy_completion completion);

/* ---- Sources ----------------------------------------------------------------------------------------------------------- */

#define IGGY_HAS_ID 1u
#define IGGY_HAS_CHECKSUM 2u
#define IGGY_HAS_TIMESTAMP 4u
#define IGGY_HAS_ORIGIN_TIMESTAMP 8u
#define IGGY_HAS_KEY 16u
#define IGGY_HAS_ROUTE 32u
#define IGGY_HAS_OFFSET 64u

/* One message on its way into Iggy. */
typedef struct {
  uint64_t id_low;
  uint64_t id_high;
  uint64_t checksum;
  uint64_t timestamp;
  uint64_t origin_timestamp;
  uint32_t present;  /* which optional fields are set: IGGY_HAS_ID, ... */
  uint32_t reserved; /* zero */
  iggy_slice payload;
  iggy_slice headers; /* user headers in Iggy's wire encoding, or empty */
  iggy_slice key;     /* what the partition is chosen by */
  iggy_slice route;   /* a route's name, or /stream/topic */
  iggy_slice offset;  /* the source's own token for the place after this message */
} iggy_produced_message;

#define IGGY_ENDED 1u /* flags: the source has ended; no poll follows */

/*
 * One polled batch: the value of a poll. What it points at stays the guest's until the host calls release(owner): exactly
 * once, from any thread, maybe after close.
 */
typedef struct {
  uint32_t size;   /* sizeof(iggy_produced_batch) */
  uint32_t stride; /* bytes from one message to the next */
  const iggy_produced_message *messages;
  size_t len; /* 0: the poll found nothing */
  uint32_t schema;
  uint32_t flags;
  uint32_t state_present; /* 1 when state is the source's state after this batch */
  uint32_t reserved;      /* zero */
  iggy_slice state;
  void *owner;
  void (*release)(void *owner);
} iggy_produced_batch;

/* What became of a polled batch. */
typedef struct {
  uint32_t size; /* sizeof(iggy_settlement) of the host */
  uint32_t ack;  /* 1: confirmed and its state saved. 0: given up; offer it again */
  uint64_t poll; /* the number of the poll call that returned the batch */
  const uint32_t *undelivered; /* positions of messages that were filtered or failed, in rising order */
  size_t undelivered_len;
} iggy_settlement;

void iggy_source_open_v1(const iggy_open *open, iggy_completion completion);
/* May wait as long as it likes; the host cancels it. */
void iggy_source_poll_v1(uint32_t instance, uint64_t call, iggy_completion completion);
/* Once for each poll that ended well, in the order of the polls. */
void iggy_source_settle_v1(uint32_t instance, uint64_t call, const iggy_settlement *settlement, iggy_completion completion);
void iggy_source_health_v1(uint32_t instance, uint64_t call, iggy_completion completion);
void iggy_source_cancel_v1(uint32_t instance, uint64_t call);
void iggy_source_close_v1(uint32_t instance, uint64_t call, iggy_completion completion);

#ifdef __cplusplus
}
#endif

#endif
