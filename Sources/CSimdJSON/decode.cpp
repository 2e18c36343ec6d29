// The decoder of decode.h. One pass over each document in its own order; the last of equal keys wins, as in jsonb.
#include "decode.h"

#include <simdjson.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace od = simdjson::ondemand;

namespace {

constexpr int kTime = -1;
constexpr int kIdentifier = -2;
constexpr uint8_t kNoField = 255, kTimeField = 254, kIdentifierField = 253;

struct Field {
  int kind, scale, presence, uses;
  std::string default_text;
  uint64_t default_hash;
  int64_t default_value;
};

struct Node {
  std::string name;
  std::vector<int> targets;
  std::vector<Node> children;
};

// Text that must outlive its document; blocks never move.
class Arena {
 public:
  const uint8_t *copy(std::string_view text) {
    if (blocks_.empty() || used_ + text.size() > block_size(current_)) next(text.size());
    uint8_t *at = blocks_[current_].get() + used_;
    memcpy(at, text.data(), text.size());
    used_ += text.size();
    return at;
  }
  void reset() { current_ = 0; used_ = 0; }

 private:
  size_t block_size(size_t i) const { return i < sizes_.size() ? sizes_[i] : 0; }
  void next(size_t need) {
    if (!sizes_.empty()) current_++;
    while (current_ < sizes_.size() && sizes_[current_] < need) current_++;
    if (current_ >= sizes_.size()) {
      size_t size = need > kBlock ? need : kBlock;
      blocks_.emplace_back(new uint8_t[size]);
      sizes_.push_back(size);
      current_ = sizes_.size() - 1;
    }
    used_ = 0;
  }
  static constexpr size_t kBlock = 256 << 10;
  std::vector<std::unique_ptr<uint8_t[]>> blocks_;
  std::vector<size_t> sizes_;
  size_t current_ = 0, used_ = 0;
};

int64_t days_from_civil(int64_t y, unsigned m, unsigned d) {  // Howard Hinnant, chrono-compatible date algorithms
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const unsigned yoe = static_cast<unsigned>(y - era * 400);
  const unsigned doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  const unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + static_cast<int64_t>(doe) - 719468;
}

bool digits(const char *p, int n, int &out) {
  int v = 0;
  for (int i = 0; i < n; i++) {
    unsigned d = static_cast<unsigned char>(p[i]) - '0';
    if (d > 9) return false;
    v = v * 10 + static_cast<int>(d);
  }
  out = v;
  return true;
}

bool parse_rfc3339(const char *p, size_t n, int64_t &out) {
  int year, month, day, hour, minute, second;
  if (n < 20) return false;
  if (!digits(p, 4, year) || p[4] != '-' || !digits(p + 5, 2, month) || p[7] != '-' || !digits(p + 8, 2, day)) return false;
  if (p[10] != 'T' && p[10] != 't' && p[10] != ' ') return false;
  if (!digits(p + 11, 2, hour) || p[13] != ':' || !digits(p + 14, 2, minute) || p[16] != ':' || !digits(p + 17, 2, second)) return false;
  static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return false;
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  if (day > lengths[month - 1] + (month == 2 && leap)) return false;
  size_t at = 19;
  int64_t micros = 0;
  if (p[at] == '.') {
    at++;
    int64_t unit = 100000;
    size_t begin = at;
    while (at < n && p[at] >= '0' && p[at] <= '9') {
      micros += (p[at] - '0') * unit;
      unit /= 10;
      at++;
    }
    if (at == begin) return false;
  }
  if (at >= n) return false;
  int64_t offset = 0;
  if (p[at] == 'Z' || p[at] == 'z') {
    at++;
  } else if (p[at] == '+' || p[at] == '-') {
    int oh, om;
    if (n - at != 6 || !digits(p + at + 1, 2, oh) || p[at + 3] != ':' || !digits(p + at + 4, 2, om)) return false;
    if (oh > 23 || om > 59) return false;
    offset = (oh * 3600 + om * 60) * (p[at] == '-' ? -1 : 1);
    at += 6;
  } else {
    return false;
  }
  if (at != n) return false;
  int64_t seconds = days_from_civil(year, static_cast<unsigned>(month), static_cast<unsigned>(day)) * 86400 + hour * 3600 + minute * 60 + second - offset;
  out = seconds * 1000000 + micros;
  return true;
}

// A JSON number token as an integer of 10^-scale. 0 fine, otherwise a status. Digits beyond the scale are refused, or cut off.
int parse_decimal(std::string_view t, int scale, int64_t &out, bool cuts = false) {
  while (!t.empty() && (t.back() == ' ' || t.back() == '\n' || t.back() == '\t' || t.back() == '\r')) t.remove_suffix(1);
  size_t i = 0;
  bool negative = i < t.size() && t[i] == '-';
  if (negative) i++;
  if (i >= t.size() || t[i] < '0' || t[i] > '9') return TM_WRONG_TYPE;
  __int128 mantissa = 0;
  int exponent = 0;
  bool large = false, fraction = false;
  for (; i < t.size(); i++) {
    char c = t[i];
    if (c == '.') {
      if (fraction) return TM_WRONG_TYPE;
      fraction = true;
    } else if (c >= '0' && c <= '9') {
      if (mantissa > (static_cast<__int128>(1) << 120)) { large = true; continue; }
      mantissa = mantissa * 10 + (c - '0');
      if (fraction) exponent--;
    } else {
      break;
    }
  }
  if (i < t.size()) {
    if (t[i] != 'e' && t[i] != 'E') return TM_WRONG_TYPE;
    i++;
    int sign = 1, e = 0;
    if (i < t.size() && (t[i] == '+' || t[i] == '-')) { sign = t[i] == '-' ? -1 : 1; i++; }
    if (i >= t.size()) return TM_WRONG_TYPE;
    for (; i < t.size(); i++) {
      if (t[i] < '0' || t[i] > '9') return TM_WRONG_TYPE;
      if (e < 10000) e = e * 10 + (t[i] - '0');
    }
    exponent += sign * e;
  }
  if (large) return TM_NUMBER_OUT_OF_RANGE;
  int shift = exponent + scale;
  if (mantissa == 0) { out = 0; return 0; }
  for (; shift > 0; shift--) {
    mantissa *= 10;
    if (mantissa > static_cast<__int128>(INT64_MAX) + 1) return TM_NUMBER_OUT_OF_RANGE;
  }
  for (; shift < 0; shift++) {
    if (mantissa % 10 != 0 && !cuts) return TM_NUMBER_OUT_OF_RANGE;
    mantissa /= 10;
    if (mantissa == 0) break;
  }
  if (negative) mantissa = -mantissa;
  if (mantissa > INT64_MAX || mantissa < INT64_MIN) return TM_NUMBER_OUT_OF_RANGE;
  out = static_cast<int64_t>(mantissa);
  return 0;
}

}  // namespace

struct tm_decoder {
  uint64_t seed;
  tm_limits limits;
  std::vector<Field> fields;
  Node root;
  int time_format = TM_RFC3339;
  bool has_identifier = false;
  int partition_key = -1;

  od::parser parser;
  std::vector<char> padded;
  Arena arena;

  // Of the document at hand.
  size_t at = 0;
  const tm_column *columns = nullptr;
  std::vector<uint8_t> seen;
  int64_t time = 0;
  uint64_t identifier = 0;
  bool has_time = false, identifier_seen = false;
  std::string_view key_text;
  char number_buffer[24], key_buffer[24];
  uint8_t failed = kNoField;

  int add(const char *const *path, size_t depth, int target) {
    Node *node = &root;
    for (size_t d = 0; d < depth; d++) {
      Node *child = nullptr;
      for (auto &c : node->children)
        if (c.name == path[d]) child = &c;
      if (!child) {
        node->children.push_back(Node{path[d], {}, {}});
        child = &node->children.back();
      }
      node = child;
    }
    node->targets.push_back(target);
    return 0;
  }

  uint64_t hash(std::string_view t) const { return XXH3_64bits_withSeed(t.data(), t.size(), seed); }

  void absent(int target) {
    if (target >= 0) seen[target] = 0;
    else if (target == kTime) has_time = false;
    else identifier_seen = false;
  }

  // All that lies below a node: an equal key before this one may have filled it.
  void absent_below(const Node &node) {
    for (const Node &child : node.children) {
      for (int t : child.targets) absent(t);
      absent_below(child);
    }
  }

  int string_value(int target, std::string_view text) {
    if (target == kIdentifier) {
      uint64_t h = hash(text);
      identifier = h ? h : 1;
      identifier_seen = true;
      return 0;
    }
    if (target == kTime) {
      if (time_format != TM_RFC3339 || !parse_rfc3339(text.data(), text.size(), time)) return fail(target, TM_INVALID_TIME);
      return accept_time();
    }
    Field &f = fields[target];
    if (f.kind != TM_STRING) return fail(target, TM_WRONG_TYPE);
    return text_value(target, f, text);
  }

  int accept_time() {
    if (time < limits.earliest || time > limits.latest) return fail(kTime, TM_TIME_OUT_OF_RANGE);
    has_time = true;
    return 0;
  }

  int text_value(int target, Field &f, std::string_view text) {
    const tm_column &c = columns[target];
    if (f.uses & (TM_USE_TEXT | TM_USE_COLUMN)) {
      if (f.uses & TM_USE_TEXT && text.size() > limits.max_key_field) return fail(target, TM_OVERSIZED_FIELD);
      if (memchr(text.data(), 0, text.size())) return fail(target, TM_NUL_CHARACTER);
      c.texts[at] = arena.copy(text);
      c.lengths[at] = static_cast<uint32_t>(text.size());
    }
    if (f.uses & TM_USE_HASH) c.hashes[at] = hash(text);
    if (target == partition_key) key_text = text;
    seen[target] = 1;
    return 0;
  }

  int number_value(int target, std::string_view token) {
    int64_t value = 0;
    if (target == kIdentifier) return fail(target, TM_WRONG_TYPE);
    if (target == kTime) {
      int scale = time_format == TM_EPOCH_SECONDS ? 6 : time_format == TM_EPOCH_MILLISECONDS ? 3 : 0;
      if (time_format == TM_RFC3339 || parse_decimal(token, scale, value, true) != 0) return fail(target, TM_INVALID_TIME);
      time = value;
      return accept_time();
    }
    Field &f = fields[target];
    if (f.kind != TM_INTEGER && f.kind != TM_DECIMAL) return fail(target, TM_WRONG_TYPE);
    if (f.kind == TM_INTEGER && token.find_first_of(".eE") != std::string_view::npos) return fail(target, TM_WRONG_TYPE);
    int status = parse_decimal(token, f.kind == TM_DECIMAL ? f.scale : 0, value);
    if (status) return fail(target, status);
    columns[target].values[at] = value;
    seen[target] = 1;
    if (f.uses || target == partition_key) {
      // The partition key's text is compared when the document is over: no other number may be written over it.
      char *buffer = target == partition_key ? key_buffer : number_buffer;
      int n = snprintf(buffer, sizeof key_buffer, "%lld", static_cast<long long>(value));
      return text_value(target, f, std::string_view(buffer, static_cast<size_t>(n)));
    }
    return 0;
  }

  int boolean_value(int target, bool value) {
    if (target < 0 || fields[target].kind != TM_BOOLEAN) return fail(target, target == kTime ? TM_INVALID_TIME : TM_WRONG_TYPE);
    columns[target].values[at] = value;
    return text_value(target, fields[target], value ? "true" : "false");
  }

  int fail(int target, int status) {
    failed = target == kTime ? kTimeField : target == kIdentifier ? kIdentifierField : static_cast<uint8_t>(target);
    return status;
  }

  int leaf(Node &node, od::value &value) {
    od::json_type type;
    if (value.type().get(type)) return TM_INVALID_JSON;
    switch (type) {
      case od::json_type::string: {
        // Without escapes the text is the token between its quotes; stage 1 has checked UTF-8 and control characters.
        std::string_view text = value.raw_json_token();
        size_t end = text.find_last_of('"');
        if (end == 0 || end == std::string_view::npos) return TM_INVALID_JSON;
        text = text.substr(1, end - 1);
        if (memchr(text.data(), '\\', text.size()) && value.get_string().get(text)) return TM_INVALID_JSON;
        for (int t : node.targets)
          if (int s = string_value(t, text)) return s;
        return 0;
      }
      case od::json_type::number: {
        double checked;  // get_double validates the token's grammar; the exact value is read from the token
        std::string_view token = value.raw_json_token();
        if (value.get_double().get(checked)) {
          // Too large for a double, or not a number at all: the token decides which.
          int64_t ignored;
          return fail(node.targets[0], parse_decimal(token, 0, ignored) == TM_NUMBER_OUT_OF_RANGE ? TM_NUMBER_OUT_OF_RANGE : TM_WRONG_TYPE);
        }
        for (int t : node.targets)
          if (int s = number_value(t, token)) return s;
        return 0;
      }
      case od::json_type::boolean: {
        bool b;
        if (value.get_bool().get(b)) return TM_INVALID_JSON;
        for (int t : node.targets)
          if (int s = boolean_value(t, b)) return s;
        return 0;
      }
      case od::json_type::null:
        if (!value.is_null()) return TM_INVALID_JSON;
        for (int t : node.targets) absent(t);
        return 0;
      default: return fail(node.targets[0], node.targets[0] == kTime ? TM_INVALID_TIME : TM_WRONG_TYPE);
    }
  }

  Node *match(Node &node, const char *raw, size_t &hint) {
    size_t n = node.children.size();
    for (size_t k = 0; k < n; k++) {
      size_t c = hint + k < n ? hint + k : hint + k - n;
      Node &child = node.children[c];
      if (memcmp(raw, child.name.data(), child.name.size()) == 0 && raw[child.name.size()] == '"') {
        hint = c + 1 < n ? c + 1 : 0;
        return &child;
      }
    }
    return nullptr;
  }

  int object(Node &node, od::object &object) {
    size_t hint = 0;
    for (auto item : object) {
      od::field field;
      if (std::move(item).get(field)) return TM_INVALID_JSON;
      const char *raw = field.key().raw();
      Node *child = match(node, raw, hint);
      if (!child) {
        const char *p = raw;
        while (*p != '"' && *p != '\\') p++;
        if (*p == '\\') {
          std::string_view name;
          if (field.unescaped_key().get(name)) return TM_INVALID_JSON;
          for (auto &c : node.children)
            if (c.name == name) child = &c;
        }
        if (!child) continue;
      }
      od::value value = field.value();
      if (!child->children.empty()) {
        absent_below(*child);
        od::json_type type;
        if (value.type().get(type)) return TM_INVALID_JSON;
        if (type == od::json_type::object) {
          od::object inner;
          if (value.get_object().get(inner)) return TM_INVALID_JSON;
          if (int s = this->object(*child, inner)) return s;
          continue;
        }
        if (child->targets.empty()) continue;  // not an object: what lies below it is absent
      }
      if (int s = leaf(*child, value)) return s;
    }
    return 0;
  }

  // JSON that is not an object, or text that only begins like it.
  static int scalar_or_array(od::document &doc, od::json_type type) {
    bool valid = true, truth;
    double number;
    if (type == od::json_type::null) valid = doc.is_null();
    if (type == od::json_type::boolean) valid = !doc.get_bool().get(truth);
    if (type == od::json_type::number) valid = !doc.get_double().get(number);
    return valid ? TM_NOT_AN_OBJECT : TM_INVALID_JSON;
  }

  int document(const uint8_t *payload, size_t length) {
    if (padded.size() < length + simdjson::SIMDJSON_PADDING) padded.resize((length + simdjson::SIMDJSON_PADDING) * 2);
    memcpy(padded.data(), payload, length);
    memset(padded.data() + length, ' ', simdjson::SIMDJSON_PADDING);
    failed = kNoField;
    memset(seen.data(), 0, seen.size());
    has_time = identifier_seen = false;
    key_text = {};
    od::document doc;
    if (parser.iterate(padded.data(), length, padded.size()).get(doc)) return TM_INVALID_JSON;
    od::json_type type;
    if (doc.type().get(type)) return TM_INVALID_JSON;
    if (type != od::json_type::object) return scalar_or_array(doc, type);
    od::object top;
    if (doc.get_object().get(top)) return TM_INVALID_JSON;
    if (int s = object(root, top)) return s;
    if (doc.current_location().error() != simdjson::OUT_OF_BOUNDS) return TM_INVALID_JSON;  // something follows the object
    if (!has_time) return fail(kTime, TM_MISSING_FIELD);
    if (has_identifier && !identifier_seen) return fail(kIdentifier, TM_MISSING_FIELD);
    return 0;
  }

  int complete() {
    for (size_t f = 0; f < fields.size(); f++) {
      const tm_column &c = columns[f];
      if (seen[f]) { c.present[at] = 1; continue; }
      Field &field = fields[f];
      if (field.presence == TM_REQUIRED) return fail(static_cast<int>(f), TM_MISSING_FIELD);
      c.hashes[at] = field.default_hash;
      if (field.presence == TM_OPTIONAL) { c.present[at] = 0; continue; }
      c.present[at] = 1;
      c.values[at] = field.default_value;
      c.texts[at] = reinterpret_cast<const uint8_t *>(field.default_text.data());
      c.lengths[at] = static_cast<uint32_t>(field.default_text.size());
      if (static_cast<int>(f) == partition_key) key_text = field.default_text;
    }
    return 0;
  }
};

extern "C" {

tm_decoder *tm_decoder_new(uint64_t seed, tm_limits limits) {
  auto *d = new (std::nothrow) tm_decoder;
  if (!d) return nullptr;
  d->seed = seed;
  d->limits = limits;
  return d;
}

void tm_decoder_free(tm_decoder *d) { delete d; }

int tm_decoder_field(tm_decoder *d, const char *const *path, size_t depth, int kind, int scale, int presence,
                     const char *default_text, size_t default_length, int64_t default_value, int uses) {
  try {
    std::string text(default_text ? default_text : "", default_length);
    uint64_t h = d->hash(text);
    d->fields.push_back(Field{kind, scale, presence, uses, text, h, default_value});
    d->seen.resize(d->fields.size());
    return d->add(path, depth, static_cast<int>(d->fields.size()) - 1);
  } catch (const std::bad_alloc &) {
    return -1;
  }
}

int tm_decoder_time(tm_decoder *d, const char *const *path, size_t depth, int format) {
  d->time_format = format;
  try { return d->add(path, depth, kTime); } catch (const std::bad_alloc &) { return -1; }
}

int tm_decoder_identifier(tm_decoder *d, const char *const *path, size_t depth) {
  d->has_identifier = true;
  try { return d->add(path, depth, kIdentifier); } catch (const std::bad_alloc &) { return -1; }
}

void tm_decoder_partition_key(tm_decoder *d, int field) { d->partition_key = field; }

void tm_decode(tm_decoder *d, size_t count, const uint8_t *const *payloads, const uint32_t *payload_lengths,
               const uint8_t *const *keys, const uint32_t *key_lengths, uint8_t *status, uint8_t *failed_field,
               int64_t *times, uint64_t *identifiers, uint8_t *misrouted, const tm_column *columns) {
  d->arena.reset();
  d->columns = columns;
  for (size_t i = 0; i < count; i++) {
    failed_field[i] = kNoField;
    misrouted[i] = 0;
    identifiers[i] = 1;
    times[i] = 0;
    if (!payloads[i]) { status[i] = TM_TOMBSTONE; continue; }
    if (payload_lengths[i] == 0) { status[i] = TM_EMPTY_PAYLOAD; continue; }
    if (payload_lengths[i] > d->limits.max_payload) { status[i] = TM_OVERSIZED_PAYLOAD; continue; }
    d->at = i;
    int s = d->document(payloads[i], payload_lengths[i]);
    if (s == 0) s = d->complete();
    status[i] = static_cast<uint8_t>(s);
    failed_field[i] = d->failed;
    if (s) continue;
    times[i] = d->time;
    identifiers[i] = d->has_identifier ? d->identifier : 1;
    if (d->partition_key >= 0 && columns[d->partition_key].present[i])
      misrouted[i] = keys[i] == nullptr || key_lengths[i] != d->key_text.size() ||
                     memcmp(keys[i], d->key_text.data(), d->key_text.size()) != 0;
  }
}

uint64_t tm_hash(uint64_t seed, const void *bytes, size_t length) { return XXH3_64bits_withSeed(bytes, length, seed); }

int tm_parse_rfc3339(const char *text, size_t length, int64_t *out) {
  int64_t value;
  if (!parse_rfc3339(text, length, value)) return 0;
  *out = value;
  return 1;
}

}  // extern "C"
