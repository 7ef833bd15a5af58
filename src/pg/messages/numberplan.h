/*
 * numberplan.h
 *		Plans conditions on the number of an id as conditions on the id, so that they can use
 *		its index.
 */
#ifndef CHATCRYPT_NUMBERPLAN_H
#define CHATCRYPT_NUMBERPLAN_H

#include "nodes/parsenodes.h"

/* Called before planning; changes the query in place.  Raises no error. */
extern void chatcrypt_numberplan_rewrite(Query *query);

#endif
