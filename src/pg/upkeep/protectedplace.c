/*
 * protectedplace.c
 *		A protected column as a place of envelopes: see protectedplace.h.
 *
 * Statements over tables of applications run with chatcrypt.show = sealed (store/owner.c), and so
 * see the stored form.  Expressions of pg_catalog alone take it apart and make it, because they run
 * as the table's owner, who may call nothing of chatcrypt.  What the columns are called is asked
 * of the labels, which follow renames.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "pg/compat.h"
#include "pg/protect/lazyvalue.h"
#include "pg/protect/protected.h"
#include "pg/upkeep/protectedplace.h"

/* The envelope in a column, and the stored form of an envelope. */
static const struct
{
	const char *envelope;
	char	   *written;
}			forms[] = {
	[CHATCRYPT_FORM_TEXT] = {
		"decode(substr(%s, 5), 'base64')",
		"'cc1:' || translate(encode(r.envelope, 'base64'), E'\\n', '')"
	},
	[CHATCRYPT_FORM_JSON] = {
		"decode(substr(%s #>> '{}', 5), 'base64')",
		"to_json('cc1:' || translate(encode(r.envelope, 'base64'), E'\\n', ''))"
	},
	[CHATCRYPT_FORM_JSONB] = {
		"decode(substr(%s #>> '{}', 5), 'base64')",
		"to_jsonb('cc1:' || translate(encode(r.envelope, 'base64'), E'\\n', ''))"
	},
	[CHATCRYPT_FORM_BYTEA] = {
		"substr(%s, 5)",
		"'\\x6363313a'::bytea || r.envelope"
	}
};

static char *
name_of(Relation table, AttrNumber number)
{
	return pstrdup(quote_identifier(get_attname(RelationGetRelid(table), number, false)));
}

static const ChatcryptColumn *
find_column(const ChatcryptProtected *table, const pg_uuid_t *registry_id)
{
	for (int i = 0; table != NULL && table->usable && i < table->ncolumns; i++)
		if (memcmp(&table->columns[i].label.registry_id, registry_id, sizeof(*registry_id)) == 0)
			return &table->columns[i];
	return NULL;
}

bool
chatcrypt_protectedplace_fill(ChatcryptPlace *place, Relation table, const pg_uuid_t *registry_id)
{
	const ChatcryptProtected *protected = chatcrypt_protected_by_oid(RelationGetRelid(table));
	const ChatcryptColumn *column = find_column(protected, registry_id);
	ChatcryptAad *aad;

	if (column == NULL)
		return false;
	place->kind = CHATCRYPT_PLACE_PROTECTED;
	place->column = name_of(table, column->number);
	place->envelope = psprintf(forms[column->form].envelope, place->column);
	place->envelope_of_t = psprintf(forms[column->form].envelope,
									psprintf("t.%s", place->column));
	place->written = forms[column->form].written;
	place->chat = name_of(table, protected->chat);
	place->chat_type = protected->chat_type;
	place->message = name_of(table, protected->message);
	place->message_type = protected->message_type;
	aad = palloc(sizeof(ChatcryptAad));
	*aad = (ChatcryptAad) {.bytes = column->aad, .len = sizeof(column->aad)};
	place->aad = aad;
	return true;
}

bool
chatcrypt_protectedplace_has_label(Oid relation, const pg_uuid_t *registry_id)
{
	return find_column(chatcrypt_protected_by_oid(relation), registry_id) != NULL;
}

bool
chatcrypt_protectedplace_is_aad(const pg_uuid_t *registry_id, const ChatcryptAad *aad)
{
	return aad != NULL && aad->len == CHATCRYPT_COLUMN_AAD_LEN &&
		memcmp(aad->bytes, CHATCRYPT_COLUMN_AAD_PREFIX, 4) == 0 &&
		memcmp(aad->bytes + 4, registry_id->data, CC_ID_LEN) == 0;
}

bytea *
chatcrypt_protectedplace_envelope(Datum value)
{
	ChatcryptLazy *lazy = chatcrypt_lazyvalue_of(value);
	struct varlena *stored;
	bytea	   *envelope;

	if (lazy == NULL)
		return NULL;
	stored = pg_detoast_datum_packed(unconstify(struct varlena *, lazy->stored));
	envelope = chatcrypt_sealedform_envelope(lazy->seat.form, stored);
	if (stored != lazy->stored)
		pfree(stored);
	return envelope;
}
