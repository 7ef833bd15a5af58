/*
 * messagebody.c
 *		message_body(), which opens the body of each row that a SELECT from the view messages
 *		returns.  Not here: the view's triggers, which write (viewtrigger.c).
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/access/access.h"
#include "pg/compat.h"
#include "pg/messages/binding.h"
#include "pg/messages/seal.h"
#include "pg/messages/unopened.h"

PG_FUNCTION_INFO_V1(chatcrypt_message_body);

/*
 * message_body(chat, message, created_at, sender, envelope): what the view shows, as
 * chatcrypt.on_decrypt_error says.
 *
 * An UPDATE of the view computes every column of the old row: a user who may not read gets no
 * body there, and may still change the other columns.
 */
Datum
chatcrypt_message_body(PG_FUNCTION_ARGS)
{
	bool		updating = chatcrypt_unopened_is_updating();
	ChatcryptRowAad aad;
	text	   *body;

	if (updating && !chatcrypt_rights_has(CHATCRYPT_MAY_READ))
		return chatcrypt_unopened_return_null(fcinfo);
	chatcrypt_access_require_for_plaintext(CHATCRYPT_MAY_READ);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(4))
		PG_RETURN_NULL();
	body = chatcrypt_seal_open_text(PG_GETARG_UUID_P(0)->data, PG_GETARG_UUID_P(1)->data,
									PG_GETARG_BYTEA_PP(4),
									chatcrypt_binding_aad(&aad, PG_GETARG_TIMESTAMPTZ(2),
														  PG_ARGISNULL(3) ? NULL :
														  PG_GETARG_TEXT_PP(3)),
									updating ? CHATCRYPT_FAIL_NULL :
									chatcrypt_seal_on_failure_in_views());
	if (body == NULL)
		return chatcrypt_unopened_return_null(fcinfo);
	PG_RETURN_TEXT_P(body);
}
