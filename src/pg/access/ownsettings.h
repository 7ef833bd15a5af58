/*
 * ownsettings.h
 *		Settings that the access room alone changes.
 *
 * A setting, because parallel workers inherit settings and neither C variables nor
 * MyProcPort; guarded by a check hook, because anybody could SET it otherwise.
 */
#ifndef CHATCRYPT_OWNSETTINGS_H
#define CHATCRYPT_OWNSETTINGS_H

#include "utils/guc.h"

/* Defines one.  about, initial and the variable are as for DefineCustom…Variable(). */
extern void chatcrypt_ownsettings_define_string(const char *name, const char *about,
												char **variable,
												const char *initial, GucStringAssignHook assign);
extern void chatcrypt_ownsettings_define_bool(const char *name, const char *about, bool *variable);

/* Changes one, with the lifetime that the action says. */
extern void chatcrypt_ownsettings_set(const char *name, const char *value, GucSource source,
									  GucAction action);

#endif
