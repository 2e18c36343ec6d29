#pragma once
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

// rd_kafka_producev is variadic, which Swift cannot call; this is the one shape of it that we need.
// payload NULL is a tombstone; partition RD_KAFKA_PARTITION_UA lets the partitioner choose; timestamp 0 is "now".
static inline rd_kafka_resp_err_t tm_produce(rd_kafka_t *rk, const char *topic, int32_t partition, const void *key,
                                             size_t key_length, const void *payload, size_t length, int64_t timestamp) {
  return rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                           RD_KAFKA_V_KEY(key, key_length), RD_KAFKA_V_VALUE((void *)payload, length),
                           RD_KAFKA_V_TIMESTAMP(timestamp), RD_KAFKA_V_END);
}
