/*
 * The contract between the connectors runtime (host) and a plugin (guest), in C. It says the same as the Rust crate
 * iggy_connector_abi; a test compares every size and offset.
 *
 * A plugin is a shared library that exports iggy_connector_descriptor, iggy_connector_shutdown_v1 and either all
 * iggy_sink_*_v1 or all iggy_source_*_v1 functions declared below. None of them may be missing.
 *
 * The rules for every call:
 *
 * 1. Every function but the descriptor and the shutdown returns at once. Its result arrives through a completion, which the
 *    guest calls exactly once, from any thread, possibly before the function has returned.
 * 2. What a call lends (structs and everything their slices point at) is read-only and valid until its completion returns.
 *    The guest copies what it keeps.
 * 3. What a completion lends (the outcome, the value) is read-only and valid until the completion returns. The host copies
 *    what it keeps. A produced batch is the one exception: its memory stays the guest's until release, and neither side writes to
 *    it between the completion and that.
 * 4. Nothing unwinds across the fence in either direction: no C++ exception, no longjmp.
 * 5. A struct may be longer or shorter than its reader knows, and is never shorter than in version 1. Read size first, and copy
 *    min(size, sizeof) bytes into a zeroed struct of your own. Zero in a later field means absent. Arrays carry a stride for the
 *    same reason: step by it, not by sizeof. No struct ends in padding.
 * 6. Numbers that name a thing (status, level, schema, direction, reason) may be unknown to the reader, which says so instead of
 *    guessing. Unknown bits of flags and present are ignored. reserved is written as zero and not read.
 * 7. Functions are called from any thread. Calls of one instance overlap: consumes of different partitions, up to max_unsettled
 *    consumes of one partition, a settle beside a poll; health, flush and cancel beside everything. At most one poll, one settle
 *    and one flush are under way. Open and close run alone, except for cancel.
 * 8. Consumes of one partition are called one after the other, the next only after the previous function has returned, and
 *    that order is the batches' order. What the guest does in answer begins in that order. What follows a failure before the host
 *    knows of it is told by its rank.
 * 9. The guest holds no lock while it calls a completion or a function of the host. The host may call a batch's release from
 *    inside a completion.
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
/* The minor version: rises when something is appended. Each side says its own, and neither refuses the other's. */
#define IGGY_ABI_MINOR 1u

/* ---- Slices ------------------------------------------------------------------------------------------------------------ */

/* Borrowed bytes, not ended by a zero. ptr of an empty slice means nothing: it may be null, or dangle. */
typedef struct {
  const uint8_t *ptr;
  size_t len;
} iggy_slice;

/* ---- The handshake ----------------------------------------------------------------------------------------------------- */

/* First eight bytes of every descriptor: "IGGYCONN", little-endian. */
#define IGGY_MAGIC UINT64_C(0x4e4e4f4359474749)

#define IGGY_SINK 0u
#define IGGY_SOURCE 1u

/* A library that ends the process where it should unwind is refused. One that has no panics (C) says IGGY_PANIC_UNWIND, 0. */
#define IGGY_PANIC_UNWIND 0u
#define IGGY_PANIC_ABORT 1u

/*
 * flags: no second instance of this library may run beside another on the same target, whatever its configuration. Reserved: a host
 * may not look at it yet and goes by iggy_traits.exclusive.
 */
#define IGGY_EXCLUSIVE 1u

/* What a library is. It has one direction. magic, abi_version and size keep their place in every version. */
typedef struct {
  uint64_t magic;           /* IGGY_MAGIC */
  uint32_t abi_version;     /* IGGY_ABI_VERSION */
  uint32_t size;            /* sizeof(iggy_descriptor) */
  uint32_t minor;           /* IGGY_ABI_MINOR */
  uint32_t flags;           /* IGGY_EXCLUSIVE or 0 */
  uint32_t direction;       /* IGGY_SINK or IGGY_SOURCE */
  uint32_t panic;           /* IGGY_PANIC_UNWIND */
  iggy_slice name;          /* the plugin's name, in UTF-8, at most 256 bytes */
  iggy_slice version;       /* the plugin's version, in UTF-8, at most 256 bytes */
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
#define IGGY_CANCELLED 5u    /* ended on request; see below */
#define IGGY_CONTRACT 6u     /* one side broke the contract */

/*
 * IGGY_CANCELLED: with an effect that nobody knows. A consume's records count as undelivered and may be handed over again, a poll
 * returned nothing, a settle or flush is repeated. Only of a call that was cancelled; of any other it breaks the contract.
 */

/* One record of a consumed batch that failed. Each is listed at most once, in any order. */
typedef struct {
  uint32_t index;     /* position in the batch */
  uint32_t status;    /* IGGY_TRANSIENT, IGGY_INVALID_DATA, or IGGY_FATAL: stops the connector after the others are settled */
  iggy_slice message; /* why, in UTF-8 */
} iggy_failed;

/* How a call ended. */
typedef struct {
  uint32_t size; /* sizeof(iggy_outcome) */
  uint32_t status;
  iggy_slice message;        /* why, in UTF-8; may be empty */
  uint64_t retry_after_ms;   /* before another attempt, also at the transient records of a list; 0: the plugin does not know */
  const iggy_failed *failed; /* only of a consume, and only with IGGY_OK: every record that is not listed is durable */
  size_t failed_len;
  uint32_t failed_stride; /* sizeof(iggy_failed) */
  uint32_t reserved;      /* zero */
} iggy_outcome;

/*
 * Where the result of a call goes: complete(context, outcome, value), last of all and exactly once. The value is of the
 * call's type when the status is IGGY_OK, else null; a call without a value passes null, and a host ignores what it does not know.
 * Called without holding a lock.
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

/*
 * The host's functions: alive for ever, callable from any thread, also after close. Check size before you touch another field, and
 * hold no lock during a call.
 */
typedef struct {
  uint32_t size;                                          /* sizeof(iggy_host) */
  uint32_t reserved;                                      /* zero */
  const uint32_t *max_level;                              /* to be read atomically (relaxed); may be null */
  uint32_t (*enabled)(uint32_t level, iggy_slice target); /* whether a line would be logged: 1 or 0 */
  void (*log)(const iggy_log_record *record);
} iggy_host;

/* ---- Instances --------------------------------------------------------------------------------------------------------- */

/* What an instance is opened with. Lent until the completion. */
typedef struct {
  uint32_t size;           /* sizeof(iggy_open) of the host */
  uint32_t minor;          /* IGGY_ABI_MINOR of the host */
  uint32_t instance;       /* the new instance's number, above 0 */
  uint32_t worker_threads; /* for the library's own runtime; only the first open decides; 0 means 1 */
  uint32_t state_present;  /* 1 when state holds a saved state (sources) */
  uint32_t reserved;       /* zero */
  iggy_slice key;          /* the connector's key */
  iggy_slice config;       /* plugin_config as the text of one JSON value */
  iggy_slice state;
  const iggy_host *host;
} iggy_open;

/* What an instance tells about itself: the value of an open. */
typedef struct {
  uint32_t size;          /* sizeof(iggy_traits) */
  uint32_t exclusive;     /* 1 when no second instance may run beside this one */
  uint32_t max_unsettled; /* sinks; 0 means 1 */
  uint32_t max_in_flight; /* sources; 0 means 1 */
  iggy_slice streams;     /* proposed [[streams]] entries, as a JSON array, or empty; used where the configuration has none */
  uint32_t drains;        /* sources; 1 when it hands out what it holds when a poll says draining; 0, or absent: not polled at the end */
  uint32_t reserved;      /* zero */
} iggy_traits;

/*
 * Stops the library's threads before the process ends; blocks for at most timeout_ms. Returns 1 when all have stopped. No function
 * is called after it, but release may be, until the process ends. Threads may complete calls and log while it runs.
 */
uint32_t iggy_connector_shutdown_v1(uint64_t timeout_ms);

/* ---- Schemas ----------------------------------------------------------------------------------------------------------- */

#define IGGY_SCHEMA_JSON 0u
#define IGGY_SCHEMA_RAW 1u
#define IGGY_SCHEMA_TEXT 2u
#define IGGY_SCHEMA_PROTO 3u /* as the stream holds it; the codec decides */
#define IGGY_SCHEMA_FLAT_BUFFER 4u
#define IGGY_SCHEMA_AVRO 5u

/* ---- Sinks ------------------------------------------------------------------------------------------------------------- */

/*
 * User headers, in both directions: at most 100,000 bytes; each header is its key, then its value, and each of these two a kind (one
 * byte, 1 to 15), a length (four bytes, little-endian) and as many bytes. The host looks at a guest's headers before it
 * sends them: what is no headers is invalid data of that message.
 */

/* One message on its way out of Iggy. Times are in microseconds since the epoch. */
typedef struct {
  uint64_t id_low;
  uint64_t id_high;
  uint64_t offset;
  uint64_t checksum;
  uint64_t timestamp;
  uint64_t origin_timestamp;
  iggy_slice headers; /* see above; or empty */
  iggy_slice payload;
} iggy_consumed_message;

/*
 * Whether something that was handed over of the partition before may come again. 0, or a number that the guest does not know: the host
 * does not say.
 *
 * This keeps a partition's order where an instance takes several batches of it at once: when one has failed so that it comes again, the
 * host may hand over the next before it learns of that. A guest that minds the order then refuses what is IGGY_RANK_BEHIND, with
 * IGGY_TRANSIENT and without any effect, until a batch of the partition is IGGY_RANK_FIRST. The host hands all of it over again, in
 * order, and counts no attempt for what was refused behind a failure.
 *
 * What comes again: everything that did not end with IGGY_OK, but for a single message that ended with IGGY_INVALID_DATA; and what ended
 * with IGGY_OK and lists a record that is not invalid data.
 */
#define IGGY_RANK_FIRST 1u  /* no: the host knows how all of it has ended, or tries nothing twice */
#define IGGY_RANK_BEHIND 2u /* the host does not know yet how it has ended */

/* Messages of one partition, at most UINT32_MAX, in the order of offsets, which may have gaps. A batch may repeat messages. */
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
  uint32_t rank;     /* IGGY_RANK_FIRST or IGGY_RANK_BEHIND; 0, absent or unknown: the host does not say */
  uint32_t reserved; /* zero */
} iggy_consumed_batch;

#define IGGY_FLUSH_NONE 0u
#define IGGY_FLUSH_TIMEOUT 1u        /* a batch has waited long enough */
#define IGGY_FLUSH_PAUSE 2u          /* the connector is being paused */
#define IGGY_FLUSH_STOP 3u           /* the connector is being stopped: a close follows */
#define IGGY_FLUSH_PARTITION_LOST 4u /* the partition goes to another consumer */

/* What is to be flushed, and why. */
typedef struct {
  uint32_t size;              /* sizeof(iggy_flush_request) of the host */
  uint32_t reason;            /* one of IGGY_FLUSH_NONE to IGGY_FLUSH_PARTITION_LOST */
  uint32_t partition_present; /* 1 when only what was handed over of one partition is meant: */
  uint32_t partition_id;
  iggy_slice stream;
  iggy_slice topic;
} iggy_flush_request;

/*
 * The value is an iggy_traits. The instance exists exactly when the status was IGGY_OK; the host closes each that exists, also when
 * the completion came late or its traits could not be read.
 */
void iggy_sink_open_v1(const iggy_open *open, uint64_t call, iggy_completion completion);
void iggy_sink_consume_v1(uint32_t instance, uint64_t call, const iggy_consumed_batch *batch, iggy_completion completion);
/*
 * Makes everything that was handed over durable. Before it completes with IGGY_OK, every consume that was handed over before it (of
 * that partition, if one is named) has been completed. When it fails, those stay pending or complete with a status of their own.
 * The host never waits for a pending consume without a flush or a cancel.
 */
void iggy_sink_flush_v1(uint32_t instance, uint64_t call, const iggy_flush_request *request, iggy_completion completion);
void iggy_sink_health_v1(uint32_t instance, uint64_t call, iggy_completion completion);
/*
 * Asks a call to end, an open too: only after its function has returned, maybe repeatedly. It completes with IGGY_CANCELLED unless it
 * has completed; it may still complete with any other status, IGGY_OK included, and the host honours it. Unknown numbers are no error.
 */
void iggy_sink_cancel_v1(uint32_t instance, uint64_t call);
/* Every other call of the instance has completed and returned. Ends the instance whatever its status; never repeated. */
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
  iggy_slice headers; /* see above; or empty */
  iggy_slice key;     /* what the partition is chosen by */
  iggy_slice route;   /* a route's name, or /stream/topic */
  iggy_slice offset;  /* the source's own token for the place after this message */
} iggy_produced_message;

/* flags: the source has ended. This batch counts. No poll follows unless a batch is nacked; close comes after the last settle. */
#define IGGY_ENDED 1u

/*
 * One polled batch: the value of a poll. What it points at stays the guest's until the host calls release(owner): exactly
 * once, from any thread, maybe from inside the completion, maybe after close or shutdown. Neither side writes to it meanwhile.
 */
typedef struct {
  uint32_t size;   /* sizeof(iggy_produced_batch) */
  uint32_t stride; /* bytes from one message to the next */
  const iggy_produced_message *messages;
  size_t len; /* at most UINT32_MAX; 0: the poll found nothing */
  uint32_t schema;
  uint32_t flags;
  uint32_t state_present; /* 1 when state is the source's state after this batch */
  uint32_t reserved;      /* zero */
  iggy_slice state;
  void *owner;
  void (*release)(void *owner);
} iggy_produced_batch;

/* What a poll is to return. All are wishes. */
typedef struct {
  uint32_t size;         /* sizeof(iggy_poll_request) of the host */
  uint32_t max_messages; /* 0: as many as it likes */
  uint64_t max_wait_ms;  /* for the first message; 0: as long as it likes */
  uint64_t linger_us;    /* how long the first message may wait for others; 0, or absent: as long as it likes */
  /*
   * 1, only where iggy_traits.drains is 1: the connector is being stopped or paused. Take nothing in and do not wait: return what is
   * held, until a poll brings no message and no state. A later poll with 0, or absent, says that the source goes on as before.
   */
  uint32_t draining;
  uint32_t reserved; /* zero */
} iggy_poll_request;

#define IGGY_UNDELIVERED_FILTERED 1u      /* a transform took it out */
#define IGGY_UNDELIVERED_DEAD_LETTERED 2u /* it went to the dead letters */
#define IGGY_UNDELIVERED_SKIPPED 3u       /* the connector's policy was to go on without it */

/* One message of an acknowledged batch that did not reach its stream. It is settled all the same. */
typedef struct {
  uint32_t index;  /* position in the batch */
  uint32_t reason; /* one of IGGY_UNDELIVERED_FILTERED to IGGY_UNDELIVERED_SKIPPED */
} iggy_undelivered;

#define IGGY_NACK_STOP 1u              /* the connector is being stopped */
#define IGGY_NACK_RETRIES_EXHAUSTED 2u /* tried as often as the connector's policy allows */

/* What became of a polled batch. */
typedef struct {
  uint32_t size;                       /* sizeof(iggy_settlement) of the host */
  uint32_t ack;                        /* 1: confirmed and its state saved. 0: given up; offer it again */
  uint64_t poll;                       /* the number of the poll call that returned the batch */
  uint32_t reason;                     /* of a nack: IGGY_NACK_STOP or IGGY_NACK_RETRIES_EXHAUSTED. Of an ack: 0 */
  uint32_t stride;                     /* bytes from one undelivered message to the next */
  const iggy_undelivered *undelivered; /* of an ack, by rising position */
  size_t undelivered_len;
} iggy_settlement;

/* As iggy_sink_open_v1. */
void iggy_source_open_v1(const iggy_open *open, uint64_t call, iggy_completion completion);
/* May wait as long as it likes; the host cancels it. What it took but did not return is offered again, also after a cancel. */
void iggy_source_poll_v1(uint32_t instance, uint64_t call, const iggy_poll_request *request, iggy_completion completion);
/*
 * For every poll that completed with IGGY_OK, also one that was cancelled or brought no message, in the order of the polls, one at a
 * time. Until it completes with IGGY_OK it is repeated with the same settlement and a new call number, or the connector is given up:
 * keep what you need for that. A repeat of the last one that did is IGGY_OK again. After a nack every later batch that is not settled
 * is nacked too. A close without a settle counts as a nack.
 */
void iggy_source_settle_v1(uint32_t instance, uint64_t call, const iggy_settlement *settlement, iggy_completion completion);
void iggy_source_health_v1(uint32_t instance, uint64_t call, iggy_completion completion);
void iggy_source_cancel_v1(uint32_t instance, uint64_t call);
void iggy_source_close_v1(uint32_t instance, uint64_t call, iggy_completion completion);

#ifdef __cplusplus
}
#endif

#endif
