/*
 * ownsettings.h
 *		Settings that the access room alone changes.
 *
 * They are settings because parallel workers inherit settings, but neither C variables nor
 * MyProcPort.  A check hook guards them, because any user could SET them otherwise.
 */
#ifndef CHATCRYPT_OWNSETTINGS_H
#define CHATCRYPT_OWNSETTINGS_H

#include "utils/guc.h"

/* Defines a setting; the arguments are as for DefineCustom...Variable(). */
extern void chatcrypt_ownsettings_define_string(const char *name, const char *about,
												char **variable,
												const char *initial, GucStringAssignHook assign);
extern void chatcrypt_ownsettings_define_bool(const char *name, const char *about, bool *variable);

/* Changes a setting; the action determines how long the value lasts. */
extern void chatcrypt_ownsettings_set(const char *name, const char *value, GucSource source,
									  GucAction action);

#endif
