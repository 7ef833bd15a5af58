/*
 * flights.h
 *		The end of a flight: its answer goes into its slot.
 */
#ifndef CHATCRYPT_FLIGHTS_H
#define CHATCRYPT_FLIGHTS_H

#include "worker/dispatch.h"

extern void chatcrypt_flight_finish(KmsFlight *flight, const ChatcryptSlotAnswer *answer,
									const char *error);

/* Succeeds with the key that the KMS returned, or fails if that is not the one the row pins. */
extern void chatcrypt_flight_succeed(KmsFlight *flight);
extern void chatcrypt_flight_fail(KmsFlight *flight, cc_kms_outcome outcome, const char *error);

/* Ends a flight while the breaker is open: the KMS was not asked. */
extern void chatcrypt_flight_turn_away(KmsFlight *flight, const char *error);

/* Ends a flight that is too late, or no longer wanted. */
extern void chatcrypt_flight_expire(KmsFlight *flight);

/* End all flights of a queue, and all of a line. */
extern void chatcrypt_flights_fail(KmsQueue *queue, const cc_refusal *refusal);
extern void chatcrypt_flights_fail_all(KmsLine *line, const cc_refusal *refusal);

/* Are refusals of the flight's wrapped key remembered? */
extern bool chatcrypt_flight_is_remembered(const KmsFlight *flight);

#endif
