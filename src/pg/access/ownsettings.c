/*
 * ownsettings.c
 *		Settings that the access room alone changes: see ownsettings.h.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "miscadmin.h"

#include "pg/access/ownsettings.h"

#define FLAGS	(GUC_NO_RESET_ALL | GUC_DISALLOW_IN_FILE | GUC_NOT_IN_SAMPLE)

static bool setting_from_here;

static bool
is_ours(GucSource source)
{
	if (setting_from_here || InitializingParallelWorker || source == PGC_S_DEFAULT)
		return true;
	GUC_check_errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM);
	GUC_check_errmsg("this setting cannot be set");
	GUC_check_errhint("Use chatcrypt.act_as() to set the current actor.");
	return false;
}

static bool
check_string(char **newval, void **extra, GucSource source)
{
	(void) newval;
	(void) extra;
	return is_ours(source);
}

static bool
check_bool(bool *newval, void **extra, GucSource source)
{
	(void) newval;
	(void) extra;
	return is_ours(source);
}

void
chatcrypt_ownsettings_define_string(const char *name, const char *about, char **variable,
									const char *initial, GucStringAssignHook assign)
{
	DefineCustomStringVariable(name, about, NULL, variable, initial, PGC_SUSET, FLAGS,
							   check_string, assign, NULL);
}

void
chatcrypt_ownsettings_define_bool(const char *name, const char *about, bool *variable)
{
	DefineCustomBoolVariable(name, about, NULL, variable, false, PGC_SUSET, FLAGS, check_bool,
							 NULL, NULL);
}

void
chatcrypt_ownsettings_set(const char *name, const char *value, GucSource source, GucAction action)
{
	PG_TRY();
	{
		setting_from_here = true;
		(void) set_config_option(name, value, PGC_SUSET, source, action, true, ERROR, false);
	}
	PG_FINALLY();
	{
		setting_from_here = false;
	}
	PG_END_TRY();
}
