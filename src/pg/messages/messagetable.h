/*
 * messagetable.h
 *		Columns of chatcrypt.message and of the view chatcrypt.messages, which
 *		differ in one: where the table has encrypted_message the view has body.
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

#endif
