#pragma once
// JSON payloads into columns: simdjson On-Demand and xxHash behind a C header, so that the loop over a
// batch stays whole on one side of the language border. No exception leaves these functions.
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tm_decoder tm_decoder;

enum { TM_STRING = 0, TM_INTEGER = 1, TM_DECIMAL = 2, TM_BOOLEAN = 3 };
enum { TM_REQUIRED = 0, TM_OPTIONAL = 1, TM_DEFAULTED = 2 };
// TM_USE_TEXT is a key's text, of limited length; TM_USE_COLUMN a text of any length. Neither may hold U+0000.
enum { TM_USE_HASH = 1, TM_USE_TEXT = 2, TM_USE_COLUMN = 4 };
enum { TM_RFC3339 = 0, TM_EPOCH_SECONDS = 1, TM_EPOCH_MILLISECONDS = 2, TM_EPOCH_MICROSECONDS = 3 };

// Status of an event: 0 decoded, 255 tombstone, otherwise these (the numbers of QuarantineReason).
enum {
  TM_EMPTY_PAYLOAD = 1, TM_INVALID_JSON = 2, TM_NOT_AN_OBJECT = 3, TM_MISSING_FIELD = 4, TM_WRONG_TYPE = 5,
  TM_INVALID_TIME = 6, TM_TIME_OUT_OF_RANGE = 7, TM_OVERSIZED_PAYLOAD = 10, TM_OVERSIZED_FIELD = 11,
  TM_NUL_CHARACTER = 12, TM_NUMBER_OUT_OF_RANGE = 13, TM_TOMBSTONE = 255
};

typedef struct {
  uint64_t *hashes;
  int64_t *values;
  uint8_t *present;
  const uint8_t **texts;
  uint32_t *lengths;
} tm_column;

typedef struct {
  size_t max_payload;    // bytes
  size_t max_key_field;  // bytes
  int64_t earliest;      // microseconds
  int64_t latest;        // microseconds
} tm_limits;

// NULL when memory ran out.
tm_decoder *tm_decoder_new(uint64_t seed, tm_limits limits);
void tm_decoder_free(tm_decoder *decoder);

// Fields are numbered in the order of these calls. `path` holds `depth` names. 0 on success.
int tm_decoder_field(tm_decoder *decoder, const char *const *path, size_t depth, int kind, int scale, int presence,
                     const char *default_text, size_t default_length, int64_t default_value, int uses);
int tm_decoder_time(tm_decoder *decoder, const char *const *path, size_t depth, int format);
int tm_decoder_identifier(tm_decoder *decoder, const char *const *path, size_t depth);
void tm_decoder_partition_key(tm_decoder *decoder, int field);

// Decodes `count` payloads into columns. Texts stay valid until the next call.
void tm_decode(tm_decoder *decoder, size_t count, const uint8_t *const *payloads, const uint32_t *payload_lengths,
               const uint8_t *const *keys, const uint32_t *key_lengths, uint8_t *status, uint8_t *failed_field,
               int64_t *times, uint64_t *identifiers, uint8_t *misrouted, const tm_column *columns);

// XXH3 with seed, the hash of every text.
uint64_t tm_hash(uint64_t seed, const void *bytes, size_t length);

// Microseconds of an RFC 3339 text; 0 when it is not one.
int tm_parse_rfc3339(const char *text, size_t length, int64_t *microseconds);

#ifdef __cplusplus
}
#endif
