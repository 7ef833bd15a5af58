/*
 * settings.h
 *		The chatcrypt.* settings.  docs/settings.md gives the default, the unit and the
 *		reload class of each.
 */
#ifndef CHATCRYPT_SETTINGS_H
#define CHATCRYPT_SETTINGS_H

#include "nodes/pg_list.h"

/* keys and providers: sighup; the settings of each provider are in kmssettings.h */
extern char *chatcrypt_default_kms_key;
extern char *chatcrypt_kms_proxy;
extern bool chatcrypt_allow_http;

/* the request path: sighup, milliseconds */
extern int	chatcrypt_kms_timeout;
extern int	chatcrypt_kms_connect_timeout;
extern int	chatcrypt_kms_batch_delay;
extern int	chatcrypt_kms_max_inflight;

/* the key cache: its size in data keys, set at server start; the others are sighup, in seconds */
extern int	chatcrypt_cache_size;
extern int	chatcrypt_cache_ttl;
extern int	chatcrypt_cache_idle;
extern int	chatcrypt_cache_max_age;

/* maintenance: sighup; a list of names, and seconds */
extern char *chatcrypt_maintenance_databases;
extern int	chatcrypt_maintenance_interval;

/* files: sighup, in seconds */
extern int	chatcrypt_attachment_upload_time;

/* reading and writing */
extern bool chatcrypt_require_tls;
extern bool chatcrypt_actor_is_required;

typedef enum ChatcryptOnDecryptError
{
	CHATCRYPT_ON_ERROR_RAISE,
	CHATCRYPT_ON_ERROR_NULL,
	CHATCRYPT_ON_ERROR_NULL_DESTROYED
} ChatcryptOnDecryptError;

extern int	chatcrypt_on_decrypt_error;

/* lets DROP EXTENSION remove keys that are not destroyed; only superusers may set it */
extern bool chatcrypt_allow_drop;

/* protected tables */
typedef enum ChatcryptShow
{
	CHATCRYPT_SHOW_AUTO,
	CHATCRYPT_SHOW_PLAIN,
	CHATCRYPT_SHOW_SEALED
} ChatcryptShow;

extern int	chatcrypt_show;
extern bool chatcrypt_restore;
extern bool chatcrypt_allow_unlabelled;
extern bool chatcrypt_allow_protect;
extern int	chatcrypt_protect_lock_timeout;	/* in ms */

/*
 * Splits a list of database names, such as maintenance_databases; false if the syntax is
 * wrong.
 */
extern bool chatcrypt_settings_parse_databases(const char *list, List **names);

extern void chatcrypt_settings_define(void);

#endif
