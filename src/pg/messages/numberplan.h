/*
 * numberplan.h
 *		Conditions on the number of an id are planned as conditions on the id, so that they
 *		find its index.
 */
#ifndef CHATCRYPT_NUMBERPLAN_H
#define CHATCRYPT_NUMBERPLAN_H

#include "nodes/parsenodes.h"

/* Before planning; the query is changed in place.  Raises for nothing. */
extern void chatcrypt_numberplan_rewrite(Query *query);

#endif
