/*
 * utf8.h
 *		Text of messages in the server's encoding, and the UTF-8 that is sealed.
 *		No character of a message gets into an error on the way.
 */
#ifndef CHATCRYPT_UTF8_H
#define CHATCRYPT_UTF8_H

/*
 * Text of the server's encoding as UTF-8: its own bytes where it is that already.  NULL
 * where a server without an encoding holds something else.  The caller wipes copies.
 */
extern char *chatcrypt_utf8_of_text(const text *given, Size *len);

/*
 * The reverse: a new text; NULL for what is no UTF-8, or cannot be shown in the server's
 * encoding.
 */
extern text *chatcrypt_utf8_to_text(const char *utf8, Size len);

/*
 * The same of a plaintext that is the caller's: itself, where it is in the server's encoding
 * already or that encoding is none.
 */
extern text *chatcrypt_utf8_as_text(struct varlena *plaintext);

/* For a caller that has opened a text and is done with it; NULL for none. */
extern void chatcrypt_utf8_wipe_text(text *plaintext);

#endif
