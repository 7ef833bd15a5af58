/*
 * messagetable.h
 *		Columns of chatcrypt.sealed_message and of the view chatcrypt.messages.  The view has
 *		body where the table has encrypted_message, and shows the numbers of the ids after all
 *		other columns.
 */
#ifndef CHATCRYPT_MESSAGETABLE_H
#define CHATCRYPT_MESSAGETABLE_H

enum
{
	MESSAGE_ID,
	MESSAGE_CHAT_ID,
	MESSAGE_SENDER,
	MESSAGE_BODY,				/* encrypted_message in the table */
	MESSAGE_DEK_VERSION,
	MESSAGE_CREATED_AT,
	MESSAGE_EXPIRES_AT,
	MESSAGE_COLUMNS
};

/* Columns that only the view has. */
enum
{
	VIEW_CHAT_NUMBER = MESSAGE_COLUMNS,
	VIEW_MESSAGE_NUMBER,
	VIEW_COLUMNS
};

#endif
