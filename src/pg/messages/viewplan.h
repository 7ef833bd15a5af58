/*
 * viewplan.h
 *		Plans statements that write to the view chatcrypt.messages, and tells the trigger of the
 *		view what their plans say (viewquery.h).
 */
#ifndef CHATCRYPT_VIEWPLAN_H
#define CHATCRYPT_VIEWPLAN_H

/* Raises no error: this also runs in databases without the extension. */
extern bool chatcrypt_viewplan_is_messages(Oid relation);

extern void chatcrypt_viewplan_install_hooks(void);

#endif
