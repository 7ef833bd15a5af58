/*
 * viewplan.h
 *		How statements that write to the view chatcrypt.messages are planned, and
 *		what its trigger learns from their plans (viewwrite.h).
 */
#ifndef CHATCRYPT_VIEWPLAN_H
#define CHATCRYPT_VIEWPLAN_H

/* Raises for nothing: databases without the extension come here too. */
extern bool chatcrypt_viewplan_is_messages(Oid relation);

extern void chatcrypt_viewplan_install_hooks(void);

#endif
