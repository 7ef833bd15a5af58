/*
 * flights.h
 *		The end of a flight: its answer goes into its slot.
 */
#ifndef CHATCRYPT_FLIGHTS_H
#define CHATCRYPT_FLIGHTS_H

#include "worker/dispatch.h"

extern void chatcrypt_flight_finish(KmsFlight *flight, const ChatcryptSlotAnswer *answer,
									const char *error);

/* With the key that the KMS gave, unless it is not the one that the row pins. */
extern void chatcrypt_flight_succeed(KmsFlight *flight);
extern void chatcrypt_flight_fail(KmsFlight *flight, cc_kms_outcome outcome, const char *error);

/* Where the breaker is open: the KMS was not asked. */
extern void chatcrypt_flight_turn_away(KmsFlight *flight, const char *error);

/* Too late, or wanted no longer. */
extern void chatcrypt_flight_expire(KmsFlight *flight);

/* All of a queue, and all of a line. */
extern void chatcrypt_flights_fail(KmsQueue *queue, const cc_refusal *refusal);
extern void chatcrypt_flights_fail_all(KmsLine *line, const cc_refusal *refusal);

/* Are refusals of its wrapped key remembered? */
extern bool chatcrypt_flight_is_remembered(const KmsFlight *flight);

#endif
